// Command taskrouter-token mints and verifies Twilio TaskRouter capability tokens.
//
//	taskrouter-token mint [-worker WK... | -taskqueue WQ...] -workspace WS...
//	    [-allow NAME,NAME...] [-without-defaults] [-policy '[!]METHOD URL']...
//	    [-ttl 1h] [-start TIME] [-name FRIENDLYNAME]
//	taskrouter-token verify [-at TIME] [-leeway 30s]
//	    [-json | -can 'METHOD URL [PARAM...]'] < TOKEN
//	taskrouter-token help
//	NAME: activity-updates, reservation-updates, fetch-subresources, updates,
//	    updates-subresources, delete, delete-subresources
//	TIME: RFC 3339, as 2016-05-24T13:26:08Z, or seconds since 1970
//
// Mint prints a token for a worker, for a task queue or, with neither flag, for
// the whole workspace. It holds the default policies, unless -without-defaults is
// given, and those that -allow names. Each -policy allows one more method and
// URL, or denies them if ! comes first. -ttl counts from -start, or from now.
//
// Verify reads one token from standard input, checks it, and prints its claims
// and policies. The time is now or -at, and -leeway tolerates clocks that differ.
// With -json it prints the payload, on one line of ASCII. With -can it says
// whether a browser with this token could make a request with the parameters
// named (of the query for GET and DELETE, else of the body), as far as the rules
// that Twilio publishes tell. It never shows a token that it refuses.
//
// The auth token is in the environment, in TWILIO_AUTH_TOKEN, and for mint the
// account SID in TWILIO_ACCOUNT_SID. They are no flags, since arguments show in
// process lists.
//
// The exit status is 0 when done, 1 when refused, 2 after wrong usage, and 3 when
// -can says no. (Under go run the last two become 1.)
//
// An example, for the root of the repository:
//
//	export TWILIO_ACCOUNT_SID=AC0123456789abcdef0123456789abcdef
//	export TWILIO_AUTH_TOKEN=0123456789abcdef0123456789abcdef
//	go run ./cmd/taskrouter-token mint -worker WK0123456789abcdef0123456789abcdef \
//	    -workspace WS0123456789abcdef0123456789abcdef -allow activity-updates |
//	    go run ./cmd/taskrouter-token verify
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"taskrouter/capability"
)

// help is the comment above, word for word; a test compares them.
//
//go:embed help.txt
var help string

// A change is what one flag of mint does.
type change = func(capability.Capability) capability.Capability

var grants = map[string]change{
	"activity-updates":     capability.Capability.AllowActivityUpdates,
	"reservation-updates":  capability.Capability.AllowReservationUpdates,
	"fetch-subresources":   capability.Capability.AllowFetchSubresources,
	"updates":              capability.Capability.AllowUpdates,
	"updates-subresources": capability.Capability.AllowUpdatesSubresources,
	"delete":               capability.Capability.AllowDelete,
	"delete-subresources":  capability.Capability.AllowDeleteSubresources,
}

// A usageError is a command line that is wrong. Like all texts here it quotes
// nothing that was typed: that may be an auth token in the wrong place.
type usageError string

func (e usageError) Error() string { return string(e) }

// errValue goes to the flag package, which wants some error.
const errValue = usageError("wrong value")

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run runs the command and returns its exit status.
func run(args []string, in io.Reader, out, errout io.Writer) int {
	text, status, err := "", 0, error(usageError("want mint, verify or help"))
	switch {
	case len(args) > 0 && args[0] == "mint":
		text, err = mint(args[1:])
	case len(args) > 0 && args[0] == "verify":
		text, status, err = verify(args[1:], in)
	case len(args) == 1 && (args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help"):
		err = flag.ErrHelp
	}
	if err == flag.ErrHelp {
		text, err = help, nil
	}
	if err == nil {
		if _, err = io.WriteString(out, text); err == nil {
			return status
		}
		err = fmt.Errorf("standard output: %w", err)
	}
	fmt.Fprintf(errout, "taskrouter-token: %v\n", err)
	if _, wrongUsage := err.(usageError); !wrongUsage {
		return 1
	}
	fmt.Fprintf(errout, "usage:\n%s", strings.SplitAfter(help, "\n\n")[1])
	return 2
}

// parse parses flags and returns which were given.
func parse(f *flag.FlagSet, args []string) (map[string]bool, error) {
	// The flag package quotes what was typed, in its output and in its errors.
	f.SetOutput(io.Discard)
	if err := f.Parse(args); err == flag.ErrHelp {
		return nil, err
	} else if err != nil {
		return nil, usageError("a flag is unknown, or its value is missing or wrong")
	}
	if f.NArg() > 0 {
		return nil, usageError("want nothing but flags; a value with spaces needs quotes")
	}
	given := map[string]bool{}
	f.Visit(func(f *flag.Flag) { given[f.Name] = true })
	return given, nil
}

// timeFlag returns the function of a flag that is a time.
func timeFlag(t *time.Time) func(string) error {
	return func(s string) error {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if *t = time.Unix(seconds, 0); err != nil {
			*t, err = time.Parse(time.RFC3339, s)
		}
		// The library takes the zero time for now.
		if t.IsZero() {
			return errValue
		}
		return err
	}
}

// mint returns a token and a newline.
func mint(args []string) (string, error) {
	var f flag.FlagSet
	worker, taskQueue := f.String("worker", "", ""), f.String("taskqueue", "", "")
	workspace, name := f.String("workspace", "", ""), f.String("name", "", "")
	withoutDefaults, ttl := f.Bool("without-defaults", false, ""), f.Duration("ttl", time.Hour, "")
	var start time.Time
	f.Func("start", "", timeFlag(&start))
	var changes []change
	f.Func("allow", "", func(s string) error {
		for _, name := range strings.Split(s, ",") {
			if grants[name] == nil {
				return errValue
			}
			changes = append(changes, grants[name])
		}
		return nil
	})
	f.Func("policy", "", func(s string) error {
		c, err := policy(s)
		changes = append(changes, c)
		return err
	})
	given, err := parse(&f, args)
	if err != nil {
		return "", err
	}

	// Given, not "not empty": else -worker "$SID" without a SID would make a token
	// for the whole workspace.
	var c capability.Capability
	switch {
	case !given["workspace"] || given["worker"] && given["taskqueue"]:
		return "", usageError("want -workspace, and only one of -worker and -taskqueue")
	case given["worker"]:
		c = capability.NewWorker(*worker, *workspace)
	case given["taskqueue"]:
		c = capability.NewTaskQueue(*taskQueue, *workspace)
	default:
		c = capability.NewWorkspace(*workspace)
	}
	if *withoutDefaults {
		c = c.WithoutDefaults()
	}
	if given["start"] {
		c = c.StartingAt(start)
	}
	if given["name"] {
		c = c.WithFriendlyName(*name)
	}
	// Whoever is handed the token can read the name.
	if *name != "" && *name == os.Getenv("TWILIO_AUTH_TOKEN") {
		return "", errors.New("-name is the auth token")
	}
	for _, change := range changes {
		c = change(c)
	}
	token, err := c.WithTTL(*ttl).Token()
	return token + "\n", err
}

// policy reads a policy. Only ! as the very first byte denies; anywhere else it
// becomes part of a method that the library refuses, and so never of a grant.
func policy(s string) (change, error) {
	words := strings.Fields(strings.TrimPrefix(s, "!"))
	if len(words) != 2 {
		return nil, errValue
	}
	add := capability.Capability.Allow
	if s[0] == '!' {
		add = capability.Capability.Deny
	}
	return func(c capability.Capability) capability.Capability { return add(c, words[0], words[1], nil, nil) }, nil
}

// verify returns what to print and the exit status.
func verify(args []string, in io.Reader) (string, int, error) {
	var f flag.FlagSet
	asJSON, leeway := f.Bool("json", false, ""), f.Duration("leeway", 0, "")
	at := time.Now()
	f.Func("at", "", timeFlag(&at))
	var request []string
	f.Func("can", "", func(s string) error {
		if request = strings.Fields(s); len(request) < 2 {
			return errValue
		}
		return nil
	})
	if _, err := parse(&f, args); err != nil {
		return "", 0, err
	}
	if request != nil && *asJSON {
		return "", 0, usageError("want only one of -json and -can")
	}

	// One byte more than a token and its newline can have is enough for the
	// library to refuse it. An endless input ends here.
	input, err := io.ReadAll(io.LimitReader(in, capability.MaxTokenSize+int64(len("\r\n"))+1))
	if err != nil {
		return "", 0, fmt.Errorf("standard input: %w", err)
	}
	token, key := string(input), []byte(os.Getenv("TWILIO_AUTH_TOKEN"))
	if strings.HasSuffix(token, "\n") {
		token = strings.TrimSuffix(token[:len(token)-1], "\r")
	}
	clock := capability.Clock{At: at, Leeway: *leeway}
	claims, err := capability.VerifyAndValidate(token, key, clock)
	switch {
	case errors.Is(err, capability.ErrKey):
		return "", 0, fmt.Errorf("TWILIO_AUTH_TOKEN: %w", err)
	case err != nil:
		return "", 0, err
	case *asJSON:
		// As it was signed. MarshalJSON would leave out what the library ignores.
		payload, err := capability.VerifySignature(token, key)
		return asciiJSON(payload) + "\n", 0, err
	case request != nil:
		return answer(claims, request)
	}
	return describe(claims, clock), 0, nil
}
