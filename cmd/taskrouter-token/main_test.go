package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"taskrouter/capability"
)

var update = flag.Bool("update", false, "write testdata")

const (
	account   = "AC0123456789abcdef0123456789abcdef"
	authToken = "fedcba9876543210fedcba9876543210"
	workspace = "WS0123456789abcdef0123456789abcdef"
	worker    = "WK0123456789abcdef0123456789abcdef"
	taskQueue = "WQ0123456789abcdef0123456789abcdef"
	resource  = "https://taskrouter.twilio.com/v1/Workspaces/" + workspace + "/Workers/" + worker
)

var start = time.Unix(1464096368, 0) // 2016-05-24T13:26:08Z

// setenv sets the environment that the command reads.
func setenv(t *testing.T, accountSID, token string) {
	t.Helper()
	t.Setenv("TWILIO_ACCOUNT_SID", accountSID)
	t.Setenv("TWILIO_AUTH_TOKEN", token)
}

// base is the capability that most tests mint.
func base() capability.Capability {
	return capability.NewWorker(worker, workspace).StartingAt(start)
}

// mustSign signs any payload, as somebody else with the key might.
func mustSign(t *testing.T, payload string) string {
	t.Helper()
	token, err := capability.Sign([]byte(payload), []byte(authToken))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// foreign returns the payload of a worker token with a start and an end that
// base has, with more members and the policies given.
func foreign(more, policies string) string {
	return `{"iss":"` + account + `","exp":1464099968,"nbf":1464096368,"version":"v1","account_sid":"` + account +
		`","channel":"` + worker + `","workspace_sid":"` + workspace + `","worker_sid":"` + worker + `"` + more +
		`,"policies":[` + policies + `]}`
}

// call runs the command and checks what holds for every call: which stream is
// used for which status, and that no secret is on either.
func call(t *testing.T, stdin io.Reader, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errout bytes.Buffer
	status = run(args, stdin, &out, &errout)
	stdout, stderr = out.String(), errout.String()
	switch status {
	case 0, 3:
		if stdout == "" || stderr != "" {
			t.Errorf("status %d, stdout %q, stderr %q; want only stdout", status, stdout, stderr)
		}
	case 1:
		if stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "\n") {
			t.Errorf("status 1, stdout %q, stderr %q; want one line on stderr", stdout, stderr)
		}
	case 2:
		if stdout != "" || !strings.Contains(stderr, "\nusage:\n\ttaskrouter-token mint ") ||
			!strings.Contains(stderr, "\n\ttaskrouter-token verify ") {
			t.Errorf("status 2, stdout %q, stderr %q; want the usage on stderr", stdout, stderr)
		}
	default:
		t.Errorf("status %d", status)
	}
	if status != 0 && status != 3 && !strings.HasPrefix(stderr, "taskrouter-token: ") {
		t.Errorf("stderr %q, want the name of the command first", stderr)
	}
	return status, stdout, stderr
}

// noInput is a standard input that must not be read.
type noInput struct{ t *testing.T }

func (r noInput) Read([]byte) (int, error) {
	r.t.Error("standard input was read")
	return 0, io.EOF
}

func TestMint(t *testing.T) {
	setenv(t, account, authToken)
	w := func(args ...string) []string {
		return append([]string{"mint", "-start", "1464096368", "-workspace", workspace, "-worker", worker}, args...)
	}
	for _, test := range []struct {
		name string
		args []string
		want capability.Capability
	}{
		{"worker", w(), base()},
		{"task queue", []string{"mint", "-start", "1464096368", "-taskqueue", taskQueue, "-workspace", workspace},
			capability.NewTaskQueue(taskQueue, workspace).StartingAt(start)},
		{"workspace", []string{"mint", "-start", "1464096368", "-workspace", workspace},
			capability.NewWorkspace(workspace).StartingAt(start)},
		{"RFC 3339", []string{"mint", "-worker=" + worker, "--workspace=" + workspace, "-start=2016-05-24T15:26:08+02:00"}, base()},
		{"start 0", []string{"mint", "-worker", worker, "-workspace", workspace, "-start", "0"},
			base().StartingAt(time.Unix(0, 0))},
		{"name", w("-name", "Zoë x"), base().WithFriendlyName("Zoë x")},
		{"ttl", w("-ttl", "90m"), base().WithTTL(90 * time.Minute)},
		{"without defaults", w("-without-defaults"), base().WithoutDefaults()},
		{"activity-updates", w("-allow", "activity-updates"), base().AllowActivityUpdates()},
		{"reservation-updates", w("-allow", "reservation-updates"), base().AllowReservationUpdates()},
		{"fetch-subresources", w("-allow", "fetch-subresources"), base().AllowFetchSubresources()},
		{"updates", w("-allow", "updates"), base().AllowUpdates()},
		{"updates-subresources", w("-allow", "updates-subresources"), base().AllowUpdatesSubresources()},
		{"delete", w("-allow", "delete"), base().AllowDelete()},
		{"delete-subresources", w("-allow", "delete-subresources"), base().AllowDeleteSubresources()},
		{"list and repeated", w("-allow", "updates,delete", "-allow", "activity-updates"),
			base().AllowUpdates().AllowDelete().AllowActivityUpdates()},
		{"policies", w("-policy", "GET https://a.example/b/**", "-policy", "!DELETE https://a.example/b"),
			base().Allow("GET", "https://a.example/b/**", nil, nil).Deny("DELETE", "https://a.example/b", nil, nil)},
		{"spaces in a policy", w("-policy", "  PATCH \t https://a.example/b "),
			base().Allow("PATCH", "https://a.example/b", nil, nil)},
	} {
		t.Run(test.name, func(t *testing.T) {
			want, err := test.want.Token()
			if err != nil {
				t.Fatal(err)
			}
			status, stdout, _ := call(t, noInput{t}, test.args...)
			if status != 0 || stdout != want+"\n" {
				got, _ := capability.VerifySignature(strings.TrimSuffix(stdout, "\n"), []byte(authToken))
				payload, _ := capability.VerifySignature(want, []byte(authToken))
				t.Errorf("status %d, want 0; payload\n%s\nwant\n%s", status, got, payload)
			}
		})
	}
}

func TestMintNow(t *testing.T) {
	setenv(t, account, authToken)
	before := time.Now().Truncate(time.Second)
	_, token, _ := call(t, noInput{t}, "mint", "-workspace", workspace)
	after := time.Now()
	claims, err := capability.VerifyAndValidate(strings.TrimSuffix(token, "\n"), []byte(authToken), capability.Clock{})
	if err != nil {
		t.Fatal(err)
	}
	if made := claims.ExpiresAt.Add(-time.Hour); made.Before(before) || made.After(after) {
		t.Errorf("exp is %v, want an hour from now", claims.ExpiresAt)
	}
	if !claims.NotBefore.IsZero() {
		t.Errorf("nbf is %v, want none", claims.NotBefore)
	}
}

// TestRefused has every command line that ends with 1 or 2, with a part of its
// message. "TOKEN" stands for a good token on standard input.
func TestRefused(t *testing.T) {
	const flags = "a flag is unknown, or its value is missing or wrong"
	malformed, expired := capability.ErrMalformed.Error(), capability.ErrExpired.Error()
	notYet, invalid := capability.ErrNotYetValid.Error(), capability.ErrInvalid.Error()
	m := func(args ...string) []string { return append([]string{"mint", "-workspace", workspace}, args...) }
	w := func(args ...string) []string { return m(append([]string{"-worker", worker}, args...)...) }
	v := func(args ...string) []string { return append([]string{"verify", "-at", "1464096400"}, args...) }
	for _, test := range []struct {
		args   []string
		stdin  string
		status int
		want   string
	}{
		{nil, "", 2, "want mint, verify or help"},
		{[]string{""}, "", 2, "want mint, verify or help"},
		{[]string{"frobnicate"}, "", 2, "want mint, verify or help"},
		{[]string{"-x"}, "", 2, "want mint, verify or help"},
		{[]string{"help", "mint"}, "", 2, "want mint, verify or help"},
		{[]string{"-h", "x"}, "", 2, "want mint, verify or help"},

		{[]string{"mint"}, "", 2, "want -workspace"},
		{[]string{"mint", "-worker", worker}, "", 2, "want -workspace"},
		{w("-taskqueue", taskQueue), "", 2, "only one of -worker and -taskqueue"},
		{w("-taskqueue", ""), "", 2, "only one of -worker and -taskqueue"},
		{m("extra"), "", 2, "want nothing but flags"},
		{m("--", "extra"), "", 2, "want nothing but flags"},
		{m("-without-defaults", "https://a.example/b"), "", 2, "want nothing but flags"},
		{m("-without-defaults", "true"), "", 2, "want nothing but flags"},
		{m("-without-defaults=maybe"), "", 2, flags},
		{m("-nonsense"), "", 2, flags},
		{m("-account", account), "", 2, flags},
		{m("-auth-token", authToken), "", 2, flags},
		{m("-allow"), "", 2, flags},
		{w("-allow", ""), "", 2, flags},
		{w("-allow", "Updates"), "", 2, flags},
		{w("-allow", "updates,"), "", 2, flags},
		{w("-allow", "updates, delete"), "", 2, flags},
		{m("-policy", ""), "", 2, flags},
		{m("-policy", "!"), "", 2, flags},
		{m("-policy", "GET"), "", 2, flags},
		{m("-policy", "GET https://a.example/b Name"), "", 2, flags},
		{m("-ttl", ""), "", 2, flags},
		{m("-ttl", "3600"), "", 2, flags},
		{m("-start", ""), "", 2, flags},
		{m("-start", "now"), "", 2, flags},
		{m("-start", "1464096368.5"), "", 2, flags},
		{m("-start", "99999999999999999999"), "", 2, flags},
		{m("-start", "0001-01-01T00:00:00Z"), "", 2, flags},

		{[]string{"mint", "-workspace", ""}, "", 1, "workspace SID"},
		{[]string{"mint", "-workspace", worker}, "", 1, "workspace SID"},
		{m("-worker", ""), "", 1, "worker SID"},
		{m("-taskqueue", ""), "", 1, "task queue SID"},
		{m("-worker", worker+"/**"), "", 1, "worker SID"},
		{m("-allow", "activity-updates"), "", 1, "AllowActivityUpdates"},
		{m("-ttl", "999ms"), "", 1, "TTL"},
		{m("-ttl", "-1h"), "", 1, "TTL"},
		{m("-start", "-1"), "", 1, "start"},
		{m("-start", "1969-12-31T23:59:59Z"), "", 1, "start"},
		{m("-start", "9223372036854775807"), "", 1, "start"},
		{m("-name", ""), "", 1, "friendly name"},
		{m("-name", "a\nb"), "", 1, "friendly name"},
		{m("-policy", "get https://a.example/b"), "", 1, "policy 1"},
		{m("-policy", "GET http://a.example/b"), "", 1, "policy 1"},
		{m("-policy", "GET https://a.example/b", "-policy", "!GET https://a.example/b?c"), "", 1, "policy 2"},
		{m("-policy", "!!GET https://a.example/b"), "", 1, "policy 1"},
		{m("-policy", " !GET https://a.example/b"), "", 1, "policy 1"},

		{v("extra"), "TOKEN", 2, "want nothing but flags"},
		{v("-nonsense"), "TOKEN", 2, flags},
		{v("-key", authToken), "TOKEN", 2, flags},
		{v("-at"), "TOKEN", 2, flags},
		{v("-at", ""), "TOKEN", 2, flags},
		{v("-at", "yesterday"), "TOKEN", 2, flags},
		{v("-at", "0001-01-01T00:00:00Z"), "TOKEN", 2, flags},
		{v("-at", "0001-01-01T01:00:00+01:00"), "TOKEN", 2, flags},
		{v("-at", "-62135596800"), "TOKEN", 2, flags},
		{v("-leeway", ""), "TOKEN", 2, flags},
		{v("-leeway", "30"), "TOKEN", 2, flags},
		{v("-json=2"), "TOKEN", 2, flags},
		{v("-can", ""), "TOKEN", 2, flags},
		{v("-can", "POST"), "TOKEN", 2, flags},
		{v("-can", "POST", resource), "TOKEN", 2, flags}, // quotes forgotten
		{v("-json", "-can", "POST "+resource), "TOKEN", 2, "only one of -json and -can"},

		{v("-at", "-1"), "TOKEN", 1, invalid},
		{v("-at", "253402300800"), "TOKEN", 1, invalid},
		{v("-leeway", "-1s"), "TOKEN", 1, invalid},
		{v("-leeway", "11m"), "TOKEN", 1, invalid},
		{v("-at", "0"), "TOKEN", 1, notYet},
		{v("-at", "1464096367"), "TOKEN", 1, notYet},
		{v("-at", "1464099968"), "TOKEN", 1, expired},
		{v("-at", "1464099978", "-leeway", "10s"), "TOKEN", 1, expired},
		{[]string{"verify"}, "TOKEN", 1, expired},
		{v("-can", "post "+resource), "TOKEN", 1, "-can: " + invalid},
		{v("-can", "POST "+resource+"/*"), "TOKEN", 1, "-can: " + invalid},
		{v("-can", "POST "+resource+` "`), "TOKEN", 1, "-can: " + invalid},
		{v(), "", 1, malformed},
		{v(), "\n", 1, malformed},
		{v(), "TOKEN\n\n", 1, malformed},
		{v(), "TOKEN\r", 1, malformed},
		{v(), "TOKEN\r\r\n", 1, malformed},
		{v(), "TOKEN\n\r\n", 1, malformed},
		{v(), "TOKEN\nTOKEN\n", 1, malformed},
		{v(), " TOKEN", 1, malformed},
		{v(), "TOKEN ", 1, malformed},
		{v(), "a.b.c", 1, malformed},
	} {
		t.Run(strings.Join(test.args, " ")+test.stdin, func(t *testing.T) {
			setenv(t, account, authToken)
			token := capability.Must(base().Token())
			var in io.Reader = noInput{t}
			if test.status == 1 && test.args[0] == "verify" {
				in = strings.NewReader(strings.ReplaceAll(test.stdin, "TOKEN", token))
			}
			status, _, stderr := call(t, in, test.args...)
			first, _, _ := strings.Cut(stderr, "\n")
			if status != test.status || !strings.Contains(first, test.want) {
				t.Errorf("status %d, stderr %q; want %d and %q", status, first, test.status, test.want)
			}
			checkSecrets(t, stderr, token)
		})
	}
}

// checkSecrets looks for the auth token and for parts of a token.
func checkSecrets(t *testing.T, text, token string) {
	t.Helper()
	secrets := []string{authToken, authToken[:16], authToken[16:]}
	if token != "" {
		secrets = append(secrets, strings.Split(token, ".")...)
	}
	for _, secret := range secrets {
		if strings.Contains(text, secret) {
			t.Errorf("%q holds a secret", text)
		}
	}
}

func TestEnvironment(t *testing.T) {
	mintArgs := []string{"mint", "-worker", worker, "-workspace", workspace}
	for _, test := range []struct {
		name, account, token string
		verify               bool
		want                 string
	}{
		{"no account", "", authToken, false, "TWILIO_ACCOUNT_SID"},
		{"no auth token", account, "", false, "TWILIO_AUTH_TOKEN"},
		{"newline", account, authToken + "\n", false, "TWILIO_AUTH_TOKEN"},
		{"swapped", authToken, account, false, "TWILIO_ACCOUNT_SID"},
		{"no auth token", account, "", true, "TWILIO_AUTH_TOKEN: " + capability.ErrKey.Error()},
		{"short", account, authToken[:31], true, "TWILIO_AUTH_TOKEN: " + capability.ErrKey.Error()},
		{"swapped", authToken, account, true, capability.ErrSignature.Error()},
		{"other", account, strings.ToUpper(authToken), true, capability.ErrSignature.Error()},
	} {
		t.Run(test.name, func(t *testing.T) {
			setenv(t, account, authToken)
			token := capability.Must(base().Token())
			setenv(t, test.account, test.token)
			args, in := mintArgs, io.Reader(noInput{t})
			if test.verify {
				args, in = []string{"verify", "-at", "1464096400"}, strings.NewReader(token)
			}
			status, _, stderr := call(t, in, args...)
			if status != 1 || !strings.Contains(stderr, test.want) {
				t.Errorf("status %d, stderr %q; want 1 and %q", status, stderr, test.want)
			}
			checkSecrets(t, stderr, token)
		})
	}
}

// TestSecretsInArguments gives the auth token, and a token, as the value of
// every flag, as a flag, and as an argument. None of it may be shown.
func TestSecretsInArguments(t *testing.T) {
	setenv(t, account, authToken)
	token := capability.Must(base().Token())
	// The flag package writes to os.Stderr by itself.
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	defer func(stderr *os.File) { os.Stderr = stderr }(os.Stderr)
	os.Stderr = file
	flags := map[string][]string{
		"mint":   {"worker", "taskqueue", "workspace", "allow", "policy", "ttl", "start", "name", "without-defaults", "auth-token", "h"},
		"verify": {"at", "leeway", "json", "can", "auth-token", "h"},
	}
	required := map[string][]string{"mint": {"-workspace", workspace, "-start", "0"}, "verify": {"-at", "1464096400"}}
	for _, secret := range []string{authToken, token} {
		calls := [][]string{{secret}, {"-" + secret}, {"help", secret}}
		for command, names := range flags {
			calls = append(calls, []string{command, secret}, []string{command, "-" + secret},
				[]string{command, "-" + secret + "=" + secret}, []string{command, "-=" + secret})
			for _, name := range names {
				for _, value := range []string{secret, secret + " " + secret, "GET " + secret, secret + "," + secret} {
					for _, args := range [][]string{{"-" + name, value}, {"-" + name + "=" + value}} {
						calls = append(calls, append(append([]string{command}, required[command]...), args...))
					}
				}
			}
		}
		for _, args := range calls {
			status, stdout, stderr := call(t, strings.NewReader(token), args...)
			name := strings.NewReplacer(token, "TOKEN", authToken, "KEY").Replace(strings.Join(args, " "))
			// A -name of two auth tokens is a name; -h prints the help.
			if status == 0 && !strings.Contains(name, "-name") && stdout != help {
				t.Errorf("%s: status 0", name)
			}
			checkSecrets(t, stderr, token)
			if strings.Contains(stdout, authToken) || strings.Contains(stdout, token) {
				t.Errorf("%s: a secret on stdout", name)
			}
		}
	}

	// In a token the name is base64, which hides it from this test but from nobody else.
	for _, args := range [][]string{{"-name", authToken}, {"-name=" + authToken}} {
		status, _, stderr := call(t, noInput{t}, append([]string{"mint", "-workspace", workspace}, args...)...)
		if status != 1 || stderr != "taskrouter-token: -name is the auth token\n" {
			t.Errorf("the auth token as -name: status %d, stderr %q", status, stderr)
		}
	}

	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(file.Name()); err != nil || len(text) != 0 {
		t.Errorf("os.Stderr has %d bytes, err %v; want all texts to go through run", len(text), err)
	}

	// What -can is asked about is not repeated.
	_, stdout, _ := call(t, strings.NewReader(token), "verify", "-at", "1464096400", "-can",
		"POST https://a.example/"+authToken+" "+authToken)
	checkSecrets(t, stdout, token)
}

func TestNamesListed(t *testing.T) {
	_, _, stderr := call(t, noInput{t}, "mint", "-workspace", workspace, "-allow", "everything")
	words := strings.FieldsFunc(stderr, func(c rune) bool { return c == ',' || c == ' ' || c == '\n' || c == '\t' })
	for name := range grants {
		found := 0
		for _, word := range words {
			if word == name {
				found++
			}
		}
		if found != 1 {
			t.Errorf("the usage has %s %d times", name, found)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{"help"}, {"-h"}, {"-help"}, {"--help"}, {"mint", "-h"}, {"mint", "--help"},
		{"verify", "-h"}, {"verify", "-help"}, {"mint", "-workspace", workspace, "-h"}} {
		if status, stdout, _ := call(t, noInput{t}, args...); status != 0 || stdout != help {
			t.Errorf("%q: status %d, stdout %q; want 0 and the help", args, status, stdout)
		}
	}
}

// TestHelpIsComment compares the help with the comment at the top of main.go.
func TestHelpIsComment(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	comment, _, _ := strings.Cut(string(source), "package main\n")
	text := strings.ReplaceAll(strings.ReplaceAll("\n"+comment, "\n// ", "\n"), "\n//", "\n")[1:]
	if *update {
		if err := os.WriteFile("help.txt", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if help != text {
		t.Errorf("help.txt differs from the comment of main.go; run go test -update")
	}
}

// TestHelpExample runs the example of the help as a shell would.
func TestHelpExample(t *testing.T) {
	_, example, found := strings.Cut(help, "root of the repository:\n\n")
	if !found {
		t.Fatal("no example")
	}
	setenv(t, "", "")
	example = strings.NewReplacer("\\\n", " ", "|\n", "| ").Replace(example)
	var output string
	pipelines := 0
	for _, line := range strings.Split(strings.TrimSpace(example), "\n") {
		words := strings.Fields(line)
		if words[0] == "export" {
			for _, word := range words[1:] {
				name, value, _ := strings.Cut(word, "=")
				t.Setenv(name, value)
			}
			continue
		}
		pipelines++
		output = ""
		for _, command := range strings.Split(line, "|") {
			args := strings.Fields(command)
			if len(args) < 4 || strings.Join(args[:3], " ") != "go run ./cmd/taskrouter-token" {
				t.Fatalf("%q: want go run ./cmd/taskrouter-token", command)
			}
			status, stdout, stderr := call(t, strings.NewReader(output), args[3:]...)
			if status != 0 {
				t.Fatalf("%q: status %d, stderr %q", command, status, stderr)
			}
			output = stdout
		}
	}
	if pipelines != 1 || !strings.Contains(output, "\nworker_sid     WK0123456789abcdef0123456789abcdef\n") ||
		!strings.Contains(output, "  body: ActivitySid\n") {
		t.Errorf("%d pipelines, output\n%s", pipelines, output)
	}
	if _, err := os.Stat("../../cmd/taskrouter-token/main.go"); err != nil {
		t.Errorf("the path in the example: %v", err)
	}
}

// hostile is text that moves the cursor, ends a line, turns the direction of
// writing, or looks like a column.
const hostile = "\\u001b[2J\\u001b[1;1H\\r\\n  allow  GET     \u202e\u2028\u009b\u007f\u00e9\U0001f600"

// accepted is a token for each thing that is printed in a way of its own.
func accepted(t *testing.T) map[string]string {
	t.Helper()
	policy := func(method, url, more string) string {
		return `{"url":"` + url + `","method":"` + method + `"` + more + `}`
	}
	return map[string]string{
		"worker": capability.Must(base().WithFriendlyName("alice").AllowActivityUpdates().
			Allow("PATCH", resource, capability.Filter{"b": true, "a": true, "c": false}, capability.Filter{"d": true}).
			Allow("GET", resource, capability.Filter{"c": false}, nil).
			Deny("DELETE", resource, nil, nil).
			WithClaims(map[string]any{"role": "agent", "jti": "1", "level": map[string]any{"a": []int{1, 2}}}).Token()),
		"taskqueue": capability.Must(capability.NewTaskQueue(taskQueue, workspace).StartingAt(start).Token()),
		"workspace": capability.Must(capability.NewWorkspace(workspace).StartingAt(start).WithoutDefaults().Token()),
		// As another library may write it: with white space, fractions, allowed and no nbf.
		"foreign": mustSign(t, strings.ReplaceAll(strings.ReplaceAll(strings.ReplaceAll(
			foreign(`, "friendly_name": null, "n" : 1.50 , "s":"a b"`, policy("GET", resource, `, "allowed":true, "post_filter":null`)),
			`"exp":1464099968`, `"exp":1464099968.25`), `"nbf":1464096368,`, ""), ",", ",\r\n\t")),
		"hostile": mustSign(t, foreign(`,"friendly_name":"`+hostile+`","`+hostile+`":{"`+hostile+`":["`+hostile+`"]},"empty":"","":0,"valid for":"x  y"`,
			policy("GET", hostile, `,"allow":true,"query_filter":{"`+hostile+`":{"required":true}},"post_filter":{"a, b  body: c":{"required":true},"":{"required":true}}`)+","+
				policy(hostile, "https://a.example/b c", `,"allow":false`)+","+
				policy("GET", "https://a.example/b?c=d", `,"allow":true`)+","+
				policy("", "", `,"allow":true`))),
	}
}

func TestVerify(t *testing.T) {
	setenv(t, account, authToken)
	for name, token := range accepted(t) {
		for suffix, args := range map[string][]string{
			".txt":  {"verify", "-at", "2016-05-24T13:30:08Z", "-leeway", "30s"},
			".json": {"verify", "-at", "1464096608", "-json"},
		} {
			for _, end := range []string{"", "\n", "\r\n"} {
				status, stdout, stderr := call(t, strings.NewReader(token+end), args...)
				if status != 0 {
					t.Fatalf("%s: status %d, stderr %q", name, status, stderr)
				}
				checkGolden(t, name+suffix, stdout)
				checkSecrets(t, stdout, "")
			}
		}
	}
}

// checkGolden compares with a file of testdata, and checks what no golden file
// may have either: anything but printable ASCII and line feeds.
func checkGolden(t *testing.T, name, got string) {
	t.Helper()
	for i := 0; i < len(got); i++ {
		if c := got[i]; c != '\n' && (c < ' ' || c > '~') {
			t.Fatalf("%s: byte %#x in %q", name, c, got)
		}
	}
	file := "testdata/" + name
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

// TestLines checks the table of a hostile token without the golden file: each
// line is one that this program began.
func TestLines(t *testing.T) {
	setenv(t, account, authToken)
	_, stdout, _ := call(t, strings.NewReader(accepted(t)["hostile"]), "verify", "-at", "1464096400")
	if n := strings.Count(stdout, "\n  allow  GET "); n != 2 {
		t.Errorf("%d lines of allow GET, want the 2 of the token:\n%s", n, stdout)
	}
	// 8 claims and friendly_name, a line about the time, 4 policies, 4 other
	// claims, 2 headings, 3 empty lines.
	if n := strings.Count(stdout, "\n"); n != 9+1+4+4+2+3 {
		t.Errorf("%d lines:\n%s", n, stdout)
	}
}

// TestJSON checks that -json says what the payload says.
func TestJSON(t *testing.T) {
	setenv(t, account, authToken)
	for name, token := range accepted(t) {
		payload, err := capability.VerifySignature(token, []byte(authToken))
		if err != nil {
			t.Fatal(err)
		}
		_, stdout, _ := call(t, strings.NewReader(token), "verify", "-json", "-at", "1464096400")
		if strings.Count(stdout, "\n") != 1 || !strings.HasSuffix(stdout, "\n") {
			t.Errorf("%s: want one line, got %q", name, stdout)
		}
		var got, want any
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := json.Unmarshal(payload, &want); err != nil {
			t.Fatal(err)
		}
		a, _ := json.Marshal(got)
		b, _ := json.Marshal(want)
		if !bytes.Equal(a, b) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, a, b)
		}
	}
}

// TestValidFor checks the line that says for how long a token is still valid.
func TestValidFor(t *testing.T) {
	setenv(t, account, authToken)
	token := capability.Must(base().Token())
	for _, test := range []struct {
		at, leeway, want string
	}{
		{"1464096368", "0s", "1h0m0s, counted from 2016-05-24T13:26:08Z, with a leeway of 0s"},
		{"2016-05-24T16:26:07.5+02:00", "0s", "0s, counted from 2016-05-24T14:26:07Z"},
		{"1464099967", "30s", "31s, counted from 2016-05-24T14:26:07Z, with a leeway of 30s"},
		{"1464099978", "30s", "20s, counted from"},
		{"1464096358", "10s", "1h0m20s, counted from"},
	} {
		status, stdout, _ := call(t, strings.NewReader(token), "verify", "-at", test.at, "-leeway", test.leeway)
		if status != 0 || !strings.Contains(stdout, "\n\nvalid for another "+test.want) {
			t.Errorf("at %s: status %d, stdout\n%s\nwant %q", test.at, status, stdout, test.want)
		}
	}

	fresh := capability.Must(capability.NewWorkspace(workspace).WithTTL(10*time.Minute + 500*time.Millisecond).Token())
	_, stdout, _ := call(t, strings.NewReader(fresh), "verify")
	if !strings.Contains(stdout, "valid for another 9m5") && !strings.Contains(stdout, "valid for another 10m0s") {
		t.Errorf("a fresh token of 10 minutes:\n%s", stdout)
	}

	// The epoch is a time like others, and not "no time".
	old := capability.Must(capability.NewWorkspace(workspace).StartingAt(time.Unix(0, 0)).Token())
	if status, _, stderr := call(t, strings.NewReader(old), "verify", "-at", "0"); status != 0 {
		t.Errorf("-at 0: status %d, stderr %q", status, stderr)
	}
}

func TestCan(t *testing.T) {
	setenv(t, account, authToken)
	token := capability.Must(base().AllowActivityUpdates().
		Allow("GET", "https://a.example/b", capability.Filter{"q": true}, nil).
		Deny("DELETE", "https://a.example/**", nil, nil).Token())
	const yes, no = "allowed: a browser with this token could make this request\n",
		"not allowed: a browser with this token could not make this request\n"
	for _, test := range []struct {
		request string
		status  int
		want    string
	}{
		{"GET " + resource, 0, yes},
		{"GET " + resource + "/Reservations", 0, yes},
		{"POST " + resource, 3, no},
		{"POST " + resource + " ActivitySid", 0, yes},
		{"POST " + resource + " Attributes ActivitySid", 0, yes},
		{"  POST   " + resource + "   ActivitySid  ", 0, yes},
		{"POST " + resource + " Attributes", 3, no},
		{"GET https://a.example/b", 3, no},
		{"GET https://a.example/b q", 0, yes},
		{"DELETE https://a.example/b", 3, no},
		{"DELETE " + resource, 3, no},
	} {
		status, stdout, _ := call(t, strings.NewReader(token), "verify", "-at", "1464096400", "-can", test.request)
		if status != test.status || stdout != test.want {
			t.Errorf("%s: status %d, stdout %q; want %d and %q", test.request, status, stdout, test.status, test.want)
		}
	}
}

// TestSize checks the limit on standard input. The token is as large as tokens
// can be.
func TestSize(t *testing.T) {
	setenv(t, account, authToken)
	// 49,091 bytes are 65,455 in base64; 36+1+65455+1+43 is the limit.
	head := foreign(`,"friendly_name":""`, "")
	token := mustSign(t, strings.Replace(head, `"friendly_name":""`,
		`"friendly_name":"`+strings.Repeat("x", 49091-len(head))+`"`, 1))
	if len(token) != capability.MaxTokenSize {
		t.Fatalf("%d bytes, want %d", len(token), capability.MaxTokenSize)
	}
	for end, want := range map[string]int{
		"": 0, "\n": 0, "\r\n": 0,
		"x": 1, "x\n": 1, "x\r\n": 1, "\n\n": 1, "\n\r\n": 1, "\r\n\n": 1, "\r\n\r\n": 1, "\r": 1, "\nx": 1, "\r\nx": 1,
	} {
		status, _, stderr := call(t, strings.NewReader(token+end), "verify", "-at", "1464096400")
		if status != want || want == 1 && !strings.Contains(stderr, capability.ErrMalformed.Error()) {
			t.Errorf("the largest token and %q: status %d, stderr %q; want %d", end, status, stderr, want)
		}
	}
}

// An endless input gives the same byte until it has given far too many.
type endless struct {
	t *testing.T
	n int
}

func (r *endless) Read(b []byte) (int, error) {
	if r.n += len(b); r.n > 1<<20 {
		r.t.Error("more than 1 MB were read")
		return 0, io.EOF
	}
	for i := range b {
		b[i] = '\n'
	}
	return len(b), nil
}

func TestEndlessInput(t *testing.T) {
	setenv(t, account, authToken)
	in := &endless{t: t}
	status, _, stderr := call(t, in, "verify")
	if status != 1 || !strings.Contains(stderr, capability.ErrMalformed.Error()) {
		t.Errorf("status %d, stderr %q", status, stderr)
	}
	if in.n > capability.MaxTokenSize+3 {
		t.Errorf("%d bytes were read", in.n)
	}
}

// A broken stream fails at every use.
type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, errors.New("broken") }
func (broken) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestBrokenStreams(t *testing.T) {
	setenv(t, account, authToken)
	token := capability.Must(base().Token())
	status, _, stderr := call(t, io.MultiReader(strings.NewReader(token), broken{}), "verify", "-at", "1464096400")
	if status != 1 || stderr != "taskrouter-token: standard input: broken\n" {
		t.Errorf("reading: status %d, stderr %q", status, stderr)
	}
	for _, args := range [][]string{
		{"help"}, {"mint", "-h"}, {"mint", "-workspace", workspace}, {"verify", "-at", "1464096400"},
		{"verify", "-at", "1464096400", "-json"}, {"verify", "-at", "1464096400", "-can", "DELETE " + resource},
	} {
		var errout bytes.Buffer
		status := run(args, strings.NewReader(token), broken{}, &errout)
		if status != 1 || errout.String() != "taskrouter-token: standard output: broken\n" {
			t.Errorf("%q: status %d, stderr %q", args, status, errout.String())
		}
		if status := run([]string{"nonsense"}, noInput{t}, broken{}, broken{}); status != 2 {
			t.Errorf("with no stream to write to: status %d, want 2", status)
		}
	}
}

func TestPlain(t *testing.T) {
	for s, want := range map[string]string{
		"":                         `""`,
		worker:                     worker,
		"https://a.example:1/*/**": "https://a.example:1/*/**",
		"2016-05-24T13:26:08.5Z":   "2016-05-24T13:26:08.5Z",
		"a b":                      `"a b"`,
		" a":                       `" a"`,
		"a\x00b":                   `"a\x00b"`,
		`a"b`:                      `"a\"b"`,
		`a\nb`:                     `"a\\nb"`,
		"é\u202e":                  `"\u00e9\u202e"`,
		"\x7f\xff":                 `"\x7f\xff"`,
	} {
		if got := plain(s); got != want {
			t.Errorf("plain(%q) is %s, want %s", s, got, want)
		}
	}
}
