package capability

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/gob"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"log/slog"
	"math/big"
	"math/rand"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"
)

var update = flag.Bool("update", false, "write the golden files anew")

// Made-up SIDs and a made-up auth token.
const (
	testKey       = "0123456789abcdef0123456789abcdef"
	testAccount   = "AC0123456789abcdef0123456789abcdef"
	testWorkspace = "WS0123456789abcdef0123456789abcdef"
	testWorker    = "WK0123456789abcdef0123456789abcdef"
	testTaskQueue = "WQ0123456789abcdef0123456789abcdef"
)

var testStart = time.Unix(1464096368, 0).UTC()

// credentials sets the account and the key.
func credentials(c Capability) Capability {
	return c.WithAccountSID(testAccount).WithAuthToken(testKey)
}

// testCapability is complete and starts at testStart.
func testCapability() Capability {
	return credentials(NewWorker(testWorker, testWorkspace)).StartingAt(testStart)
}

// signRaw signs anything, by the definition of JWS and not by sign.
func signRaw(headerJSON, payload string, key []byte) string {
	signed := base64.RawURLEncoding.EncodeToString([]byte(headerJSON)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(payload))
	return signText(signed, key)
}

// signText signs by the definition of HMAC (RFC 2104), since crypto/hmac refuses
// short keys under GODEBUG=fips140=only.
func signText(signed string, key []byte) string {
	var inner, outer [64]byte
	if len(key) > 64 {
		hash := sha256.Sum256(key)
		key = hash[:]
	}
	copy(inner[:], key)
	outer = inner
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	hash := sha256.Sum256(append(inner[:], signed...))
	hash = sha256.Sum256(append(outer[:], hash[:]...))
	return signed + "." + base64.RawURLEncoding.EncodeToString(hash[:])
}

const plainHeader = `{"alg":"HS256","typ":"JWT"}`

// loadJSON reads a file of testdata into v.
func loadJSON(t testing.TB, name string, v any) {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// wantKinds demands that err is of just these kinds.
func wantKinds(t testing.TB, err error, kinds ...error) {
	t.Helper()
	for _, kind := range allKinds {
		want := false
		for _, k := range kinds {
			want = want || k == kind
		}
		if errors.Is(err, kind) != want {
			t.Errorf("errors.Is(%v, %v) = %v", err, kind, !want)
		}
	}
	if err != nil && !strings.HasPrefix(err.Error(), "capability: ") {
		t.Errorf("no prefix in %q", err)
	}
}

var allKinds = []error{ErrInvalid, ErrKey, ErrMalformed, ErrSignature, ErrClaims, ErrExpired, ErrNotYetValid}

// ----------------------------------------------------------------------------
// Golden files and foreign tokens.

// A goldenCase has the form of golden-worker.json, and kind, grants and
// without_defaults beside it.
type goldenCase struct {
	Name            string          `json:"name"`
	AccountSID      string          `json:"account_sid"`
	AuthToken       string          `json:"auth_token"`
	WorkspaceSID    string          `json:"workspace_sid"`
	Channel         string          `json:"channel"`
	Start           *int64          `json:"start"`
	TTL             int64           `json:"ttl"`
	FriendlyName    string          `json:"friendly_name,omitempty"`
	TaskRouterURL   string          `json:"taskrouter_url,omitempty"`
	EventBridgeURL  string          `json:"event_bridge_url,omitempty"`
	WithoutDefaults bool            `json:"without_defaults,omitempty"`
	Allow           []string        `json:"allow,omitempty"`
	Custom          []goldenPolicy  `json:"custom,omitempty"`
	Extra           json.RawMessage `json:"extra,omitempty"`
	ClaimsJSON      string          `json:"claims_json"`
	Token           string          `json:"token"`
}

type goldenPolicy struct {
	URL         string          `json:"url"`
	Method      string          `json:"method"`
	QueryFilter map[string]bool `json:"query_filter,omitempty"`
	PostFilter  map[string]bool `json:"post_filter,omitempty"`
	Allow       *bool           `json:"allow,omitempty"`
}

// namedGrants are the methods by the names that the golden files use.
var namedGrants = map[string]func(Capability) Capability{
	"activity_updates":     Capability.AllowActivityUpdates,
	"reservation_updates":  Capability.AllowReservationUpdates,
	"fetch_subresources":   Capability.AllowFetchSubresources,
	"updates":              Capability.AllowUpdates,
	"updates_subresources": Capability.AllowUpdatesSubresources,
	"delete":               Capability.AllowDelete,
	"delete_subresources":  Capability.AllowDeleteSubresources,
}

func (g goldenCase) capability(t testing.TB) Capability {
	c := map[string]Capability{
		"WK": NewWorker(g.Channel, g.WorkspaceSID),
		"WQ": NewTaskQueue(g.Channel, g.WorkspaceSID),
		"WS": NewWorkspace(g.WorkspaceSID),
	}[g.Channel[:2]]
	c = c.WithAccountSID(g.AccountSID).WithAuthToken(g.AuthToken).WithTTL(time.Duration(g.TTL) * time.Second)
	if g.Start != nil {
		c = c.StartingAt(time.Unix(*g.Start, 0))
	}
	if g.FriendlyName != "" {
		c = c.WithFriendlyName(g.FriendlyName)
	}
	if g.TaskRouterURL != "" {
		c = c.WithTaskRouterURL(g.TaskRouterURL)
	}
	if g.EventBridgeURL != "" {
		c = c.WithEventBridgeURL(g.EventBridgeURL)
	}
	if g.WithoutDefaults {
		c = c.WithoutDefaults()
	}
	for _, name := range g.Allow {
		if namedGrants[name] == nil {
			t.Fatalf("unknown grant %q", name)
		}
		c = namedGrants[name](c)
	}
	for _, p := range g.Custom {
		add := Capability.Allow
		if p.Allow != nil && !*p.Allow {
			add = Capability.Deny
		}
		c = add(c, p.Method, p.URL, filterOf(p.QueryFilter), filterOf(p.PostFilter))
	}
	if g.Extra != nil {
		var extra map[string]any
		if err := json.Unmarshal(g.Extra, &extra); err != nil {
			t.Fatal(err)
		}
		c = c.WithClaims(extra)
	}
	return c
}

func filterOf(m map[string]bool) Filter {
	f := Filter{}
	for name, required := range m {
		f[name] = Requirement(required)
	}
	return f
}

// check compares what the case mints, and what is read from it, with the case.
func (g goldenCase) check(t *testing.T) {
	c := g.capability(t)
	got, err := c.Token()
	if err != nil {
		t.Fatal(err)
	}
	if got != g.Token {
		payload, _ := VerifySignature(got, []byte(g.AuthToken))
		t.Fatalf("token of\n%s\nwant that of\n%s", payload, g.ClaimsJSON)
	}
	if again, err := c.Token(); err != nil || again != got {
		t.Errorf("the second call made another token: %v", err)
	}
	payload, err := VerifySignature(g.Token, []byte(g.AuthToken))
	if err != nil || string(payload) != g.ClaimsJSON {
		t.Fatalf("VerifySignature = %s, %v\nwant %s", payload, err, g.ClaimsJSON)
	}
	if signed, err := Sign(payload, []byte(g.AuthToken)); err != nil || signed != g.Token {
		t.Errorf("Sign makes another token: %v", err)
	}

	// Minting and reading are the two sides of one thing.
	claims, err := c.Claims()
	if err != nil {
		t.Fatal(err)
	}
	read, err := VerifyAndValidate(g.Token, []byte(g.AuthToken), Clock{At: time.Unix(*g.Start, 0)})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(read, claims) {
		t.Errorf("read %+v\nwant %+v", read, claims)
	}
	if b, err := claims.MarshalJSON(); err != nil || string(b) != g.ClaimsJSON {
		t.Errorf("MarshalJSON = %s, %v\nwant %s", b, err, g.ClaimsJSON)
	}
	token, generated, err := c.GenerateAndSign(nil)
	if err != nil || token != g.Token || !reflect.DeepEqual(generated, claims) {
		t.Errorf("GenerateAndSign = %v, %+v, %v", token == g.Token, generated, err)
	}
}

// golden-worker.json was made by an independent implementation. It is never
// written anew.
func TestGoldenWorker(t *testing.T) {
	var cases []goldenCase
	loadJSON(t, "golden-worker.json", &cases)
	if len(cases) != 7 {
		t.Fatalf("%d cases, want 7", len(cases))
	}
	for _, g := range cases {
		t.Run(g.Name, g.check)
	}
}

// golden.json has what golden-worker.json has not. -update writes the claims and
// tokens anew; read the difference.
func TestGolden(t *testing.T) {
	var cases []goldenCase
	loadJSON(t, "golden.json", &cases)
	if *update {
		for i := range cases {
			c := cases[i].capability(t)
			cases[i].Token = Must(c.Token())
			cases[i].ClaimsJSON = string(Must(VerifySignature(cases[i].Token, []byte(cases[i].AuthToken))))
		}
		var b bytes.Buffer
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		if err := e.Encode(cases); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile("testdata/golden.json", b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if len(cases) < 10 {
		t.Fatalf("only %d cases", len(cases))
	}
	for _, g := range cases {
		t.Run(g.Name, g.check)
	}
}

// The header is a constant in base64url; this is what it says.
func TestHeader(t *testing.T) {
	if got := base64.RawURLEncoding.EncodeToString([]byte(plainHeader)); got != header {
		t.Errorf("header is %s, want %s", header, got)
	}
}

type foreignCase struct {
	Library, Version, Case, Set, API string
	Inputs                           struct {
		AccountSID   string `json:"account_sid"`
		AuthToken    string `json:"auth_token"`
		ChannelSID   string `json:"channel_sid"`
		WorkspaceSID string `json:"workspace_sid"`
		Now, TTL     int64
	}
	Token  string
	Claims map[string]any
}

func loadForeign(t testing.TB) []foreignCase {
	t.Helper()
	var cases []foreignCase
	loadJSON(t, "foreign-tokens.json", &cases)
	seen := map[string]bool{}
	for _, f := range cases {
		seen[f.Library] = true
	}
	if len(cases) < 45 || len(seen) != 6 {
		t.Fatalf("%d tokens of %d libraries", len(cases), len(seen))
	}
	return cases
}

// Every token that the other libraries mint is read, with the claims that an
// independent reader found in it.
func TestForeignTokens(t *testing.T) {
	for _, f := range loadForeign(t) {
		t.Run(f.Library+"/"+f.Case, func(t *testing.T) {
			c, err := VerifyAndValidate(f.Token, []byte(f.Inputs.AuthToken), Clock{At: time.Unix(f.Inputs.Now, 0)})
			if err != nil {
				t.Fatal(err)
			}
			str := func(name string) string { s, _ := f.Claims[name].(string); return s }
			want := Claims{
				Issuer: str("iss"), Version: str("version"), FriendlyName: str("friendly_name"),
				AccountSID: str("account_sid"), Channel: str("channel"), WorkspaceSID: str("workspace_sid"),
				WorkerSID: str("worker_sid"), TaskQueueSID: str("taskqueue_sid"),
				ExpiresAt: floatTime(f.Claims["exp"]), NotBefore: floatTime(f.Claims["nbf"]),
				Policies: foreignPolicies(t, f.Claims["policies"]),
			}
			for name, value := range f.Claims {
				if !isClaimName(name) {
					if want.Extra == nil {
						want.Extra = map[string]json.RawMessage{}
					}
					want.Extra[name] = Must(json.Marshal(int64(value.(float64))))
				}
			}
			if !reflect.DeepEqual(c, want) {
				t.Errorf("read %+v\nwant %+v", c, want)
			}
			if c.Issuer != f.Inputs.AccountSID || c.Channel != f.Inputs.ChannelSID || c.WorkspaceSID != f.Inputs.WorkspaceSID ||
				c.ExpiresAt.Unix() != f.Inputs.Now+f.Inputs.TTL {
				t.Errorf("read %+v\nwant the inputs %+v", c, f.Inputs)
			}
		})
	}
}

func isClaimName(name string) bool {
	return strings.Contains(" iss exp nbf version friendly_name account_sid channel workspace_sid worker_sid taskqueue_sid policies ",
		" "+name+" ")
}

func floatTime(v any) time.Time {
	f, ok := v.(float64)
	if !ok {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

func foreignPolicies(t *testing.T, v any) []Policy {
	policies := []Policy{}
	filter := func(v any) (f Filter) {
		m, _ := v.(map[string]any)
		for name, value := range m {
			if f == nil {
				f = Filter{}
			}
			f[name] = Requirement(value.(map[string]any)["required"].(bool))
		}
		return f
	}
	for _, v := range v.([]any) {
		m := v.(map[string]any)
		allow, ok := m["allow"].(bool)
		if !ok {
			allow = m["allowed"].(bool)
		}
		policies = append(policies, Policy{m["method"].(string), m["url"].(string),
			filter(m["query_filter"]), filter(m["post_filter"]), allow})
	}
	if len(policies) == 0 {
		t.Error("no policies")
	}
	return policies
}

// ----------------------------------------------------------------------------
// The verifier against hostile input.

type hostileCase struct {
	ID, Class, Why, Source string
	Token                  string
	TokenB64               []byte `json:"token_b64"`
	Key                    []byte
	Now                    int64
	Want                   string
	Reason                 string `json:"expected_reason"`
	Level, MAC, Note       string
	AlsoOK                 []string `json:"also_ok"`
	Expect                 map[string]any
}

// hostileKinds are the errors for the reasons that the vectors give.
var hostileKinds = map[string]error{
	"key": ErrKey, "malformed": ErrMalformed, "too_large": ErrMalformed, "signature": ErrSignature,
	"algorithm": ErrClaims, "header": ErrClaims, "claims": ErrClaims,
	"expired": ErrExpired, "not_yet_valid": ErrNotYetValid,
}

func TestHostile(t *testing.T) {
	testVectors(t, "hostile.json", 221)
}

func testVectors(t *testing.T, name string, least int) {
	var cases []hostileCase
	loadJSON(t, name, &cases)
	if len(cases) < least {
		t.Fatalf("%d cases, want %d", len(cases), least)
	}
	for _, h := range cases {
		t.Run(h.ID, func(t *testing.T) {
			tok := h.Token
			if h.TokenB64 != nil {
				tok = string(h.TokenB64)
			}
			claims, err := VerifyAndValidate(tok, h.Key, Clock{At: time.Unix(h.Now, 0)})
			if h.Want == "accept" {
				if err != nil {
					t.Fatalf("%s: refused: %v", h.Why, err)
				}
				for name, want := range h.Expect {
					got := map[string]any{"iss": claims.Issuer, "friendly_name": claims.FriendlyName}[name]
					if got != want {
						t.Errorf("%s is %v, want %v", name, got, want)
					}
				}
				return
			}
			if h.Want != "reject" {
				t.Fatalf("unknown verdict %q", h.Want)
			}
			if err == nil {
				t.Fatalf("%s: accepted", h.Why)
			}
			if !reflect.DeepEqual(claims, Claims{}) {
				t.Error("claims beside an error") // inv 2
			}
			right := false
			for _, reason := range append(h.AlsoOK, h.Reason) {
				kind, known := hostileKinds[reason]
				if !known {
					t.Fatalf("unknown reason %q", reason)
				}
				right = right || errors.Is(err, kind)
			}
			if !right {
				t.Errorf("%s: %v, want %s or %v", h.Why, err, h.Reason, h.AlsoOK)
			}
		})
	}
}

// RFC 7515 appendix A.1: the key, the payload and the token. Its header is not
// the one that Sign writes, so only the verifier can be shown it.
func TestRFC7515AppendixA1(t *testing.T) {
	key, err := base64.RawURLEncoding.DecodeString("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
	if err != nil {
		t.Fatal(err)
	}
	const tok = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9" +
		".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ" +
		".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	const want = "{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"
	payload, err := VerifySignature(tok, key)
	if err != nil || string(payload) != want {
		t.Errorf("VerifySignature = %q, %v, want %q", payload, err, want)
	}
	// As a capability it lacks nearly everything.
	_, err = VerifyAndValidate(tok, key, Clock{At: time.Unix(1300819379, 0)})
	wantKinds(t, err, ErrClaims)
}

// RFC 7515 section 7.1 and appendix C; RFC 4648 section 3.5. Nothing but the
// token itself is that token: every one-byte change, insertion, deletion and
// proper substring is refused (inv 6).
func TestMangledTokens(t *testing.T) {
	key := []byte(testKey)
	for _, payload := range []string{`{}`, `{"a":1}`, `{"ab":1}`} { // all lengths modulo 3
		tok := Must(Sign([]byte(payload), key))
		refuse := func(what string, mangled string) {
			got, err := VerifySignature(mangled, key)
			if err == nil || got != nil {
				t.Fatalf("%s accepted: %q", what, mangled)
			}
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrSignature) {
				t.Fatalf("%s: %v", what, err) // inv 1
			}
		}
		if _, err := VerifySignature(tok, key); err != nil {
			t.Fatal(err)
		}
		for i := range tok {
			for b := 0; b < 256; b++ {
				if byte(b) != tok[i] {
					refuse("change", tok[:i]+string([]byte{byte(b)})+tok[i+1:])
				}
				refuse("insertion", tok[:i]+string([]byte{byte(b)})+tok[i:])
			}
			refuse("deletion", tok[:i]+tok[i+1:])
			for j := i; j <= len(tok); j++ {
				if j-i < len(tok) {
					refuse("substring", tok[i:j])
				}
			}
		}
		for b := 0; b < 256; b++ {
			refuse("appended", tok+string([]byte{byte(b)}))
		}
	}
}

// The same for what makes a difference in a real token: each bit of each byte.
func TestFlippedBits(t *testing.T) {
	tok := Must(testCapability().Token())
	clock := Clock{At: testStart}
	if _, err := VerifyAndValidate(tok, []byte(testKey), clock); err != nil {
		t.Fatal(err)
	}
	for i := range tok {
		for bit := byte(1); bit != 0; bit <<= 1 {
			b := []byte(tok)
			b[i] ^= bit
			if c, err := VerifyAndValidate(string(b), []byte(testKey), clock); err == nil || !reflect.DeepEqual(c, Claims{}) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
		}
	}
}

// Step 1 refuses these even though the MAC over the very text is right: with
// another decoder they would be the same token in a second spelling.
func TestOneSpelling(t *testing.T) {
	key := []byte(testKey)
	good := Must(Sign([]byte(`{"a":1}`), key))
	parts := strings.Split(good, ".")
	h, p, sig := parts[0], parts[1], parts[2]
	if len(h)%4 != 0 || len(p)%4 != 2 {
		t.Fatal("the cases below want other lengths")
	}
	for name, signed := range map[string]string{
		"CR in header":          h[:8] + "\r" + h[8:] + "." + p,
		"LF in header":          h[:8] + "\n" + h[8:] + "." + p,
		"CR in payload":         h + "." + p[:4] + "\r" + p[4:],
		"LF in payload":         h + "." + p[:4] + "\n" + p[4:],
		"LF before payload":     h + ".\n" + p,
		"padding":               h + "." + p + "==",
		"standard alphabet":     h + "." + p[:4] + "+/+/" + p[4:],
		"trailing bits":         h + "." + p[:len(p)-1] + string(p[len(p)-1]+1),
		"length 1 modulo 4":     h + "." + p + "AAA",
		"header 1 modulo 4":     h + "A." + p,
		"header trailing bits":  base64.RawURLEncoding.EncodeToString([]byte(plainHeader + " "))[:37] + "B." + p,
		"not ASCII":             h + "." + p[:4] + "é" + p[4:],
		"empty header":          "." + p,
		"empty payload":         h + ".",
		"empty both":            ".",
		"one part":              h,
		"three parts":           h + "." + p + "." + p,
		"empty part at the end": h + "." + p + ".",
	} {
		_, err := VerifySignature(signText(signed, key), key)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		wantKinds(t, err, ErrMalformed)
	}
	for name, tok := range map[string]string{
		"no signature":                  h + "." + p + ".",
		"signature of 42":               h + "." + p + "." + sig[:42],
		"signature of 44":               h + "." + p + "." + sig + "A",
		"signature with padding":        h + "." + p + "." + sig + "=",
		"LF after it":                   good + "\n",
		"signature with LF, 43 in all":  h + "." + p + "." + sig[:42] + "\n",
		"signature with trailing bits":  h + "." + p + "." + sig[:42] + string(sig[42]+1),
		"signature of another alphabet": h + "." + p + "." + sig[:42] + "+",
	} {
		_, err := VerifySignature(tok, key)
		wantKinds(t, err, ErrMalformed)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A forged signature is refused however much of it is right: the first bytes, or
// the last ones, and the rest zero.
func TestForgedSignatures(t *testing.T) {
	tok := Must(Sign([]byte(`{"a":1}`), []byte(testKey)))
	signed, signature := tok[:len(tok)-43], tok[len(tok)-43:]
	mac := Must(encoding.DecodeString(signature))
	for n := 0; n < len(mac); n++ {
		for _, right := range [][2]int{{0, n}, {len(mac) - n, len(mac)}} {
			forged := make([]byte, len(mac))
			copy(forged[right[0]:right[1]], mac[right[0]:])
			if bytes.Equal(forged, mac) {
				continue // what was left out is zero
			}
			payload, err := VerifySignature(signed+encoding.EncodeToString(forged), []byte(testKey))
			if payload != nil || err == nil {
				t.Errorf("accepted with only the bytes %v of the MAC", right)
			}
			wantKinds(t, err, ErrSignature)
		}
	}
}

// A payload that is returned has no spare capacity, whatever its length is.
func TestPayloadCapacity(t *testing.T) {
	for n := 0; n < 8; n++ {
		tok := Must(Sign([]byte(`{"a":"`+strings.Repeat("x", n)+`"}`), []byte(testKey)))
		if payload := Must(VerifySignature(tok, []byte(testKey))); cap(payload) != len(payload) {
			t.Errorf("%d bytes with room for %d", len(payload), cap(payload))
		}
	}
}

// CR and LF are refused as the very first byte too, under a MAC that is right.
func TestFirstByte(t *testing.T) {
	tok := Must(Sign([]byte(`{"a":1}`), []byte(testKey)))
	for _, first := range []string{"\r", "\n"} {
		payload, err := VerifySignature(signText(first+tok[:len(tok)-44], []byte(testKey)), []byte(testKey))
		if payload != nil || err == nil {
			t.Errorf("%q before a token: accepted", first)
		}
		wantKinds(t, err, ErrMalformed)
	}
}

// The order of the steps: of two faults the earlier step's is reported.
func TestOrder(t *testing.T) {
	key := []byte(testKey)
	wrong := []byte(strings.Repeat("x", 32))
	none := `{"alg":"none"}`
	for _, test := range []struct {
		name, token string
		key         []byte
		clock       Clock
		kind        error
	}{
		{"clock before key", "x", nil, Clock{Leeway: -1}, ErrInvalid},
		{"key before token", "x", key[1:], Clock{}, ErrKey},
		{"size before shape", strings.Repeat(".", MaxTokenSize+1), key, Clock{}, ErrMalformed},
		{"shape before signature", signRaw(none, "x", key) + ".", wrong, Clock{}, ErrMalformed},
		{"signature before header", signRaw(none, "x", key), wrong, Clock{}, ErrSignature},
		{"header before payload", signRaw(none, "x", key), key, Clock{}, ErrClaims},
	} {
		_, err := VerifyAndValidate(test.token, test.key, test.clock)
		wantKinds(t, err, test.kind)
		if err == nil {
			t.Errorf("%s: accepted", test.name)
		}
	}
	_, err := VerifySignature(signRaw(none, "x", key), key)
	if err == nil || !strings.Contains(err.Error(), "header") {
		t.Errorf("%v, want one about the header", err)
	}
	_, err = VerifySignature(signRaw(plainHeader, "x", key), key)
	if err == nil || !strings.Contains(err.Error(), "payload") {
		t.Errorf("%v, want one about the payload", err)
	}
}

func TestKeys(t *testing.T) {
	payload := []byte(`{"a":1}`)
	long := []byte(strings.Repeat("k", 32))
	for _, test := range []struct {
		name string
		key  []byte
		ok   bool
	}{
		{"nil", nil, false},
		{"empty", []byte{}, false},
		{"31 bytes", long[:31], false},
		{"32 bytes", long, true},
		{"33 bytes", append(long, 'k'), true},
		{"65 bytes, more than a block", []byte(strings.Repeat("k", 65)), true},
		{"32 zeros", make([]byte, 32), false},
		{"64 zeros", make([]byte, 64), false},
		{"100 zeros", make([]byte, 100), false},
		{"zeros and a one at the end", append(make([]byte, 31), 1), true},
		{"a one and zeros", append([]byte{1}, make([]byte, 31)...), true},
		{"any bytes", []byte("\x00\xff\n\x80 -------------------------------"), true},
	} {
		tok, err := Sign(payload, test.key)
		if (err == nil) != test.ok || (tok != "") != test.ok {
			t.Errorf("%s: Sign: %v", test.name, err)
		}
		if !test.ok {
			wantKinds(t, err, ErrKey)
			tok = signRaw(plainHeader, string(payload), test.key)
		}
		before := string(test.key)
		got, err := VerifySignature(tok, test.key)
		if (err == nil) != test.ok || (got != nil) != test.ok {
			t.Errorf("%s: VerifySignature: %v", test.name, err)
		}
		if !test.ok {
			wantKinds(t, err, ErrKey)
		}
		if string(test.key) != before {
			t.Errorf("%s: the key was changed", test.name)
		}
	}
	// Another key of the same account's past is a wrong signature, which tells a
	// caller to try the next one.
	_, err := VerifySignature(Must(Sign(payload, long)), []byte(testKey))
	wantKinds(t, err, ErrSignature)
}

// MaxTokenSize and one more, for making and for reading.
func TestTokenSize(t *testing.T) {
	key := []byte(testKey)
	sized := func(n int) string { return `{"x":"` + strings.Repeat("x", n-len(`{"x":""}`)) + `"}` }
	most := (MaxTokenSize - len(header) - 2 - signatureLen) * 3 / 4 // 3 bytes make 4
	for n := most - 3; n < most+4; n++ {
		want := len(signRaw(plainHeader, sized(n), key)) <= MaxTokenSize
		tok, err := Sign([]byte(sized(n)), key)
		if (err == nil) != want {
			t.Errorf("Sign of %d bytes: %v", n, err)
		}
		if !want {
			wantKinds(t, err, ErrInvalid)
			tok = signRaw(plainHeader, sized(n), key)
		}
		payload, err := VerifySignature(tok, key)
		if (err == nil) != want || want && string(payload) != sized(n) {
			t.Errorf("VerifySignature of %d bytes: %v", len(tok), err)
		}
		if !want {
			wantKinds(t, err, ErrMalformed)
		}
	}
	// The very edge: a header with white space makes up the bytes.
	for _, size := range []int{MaxTokenSize, MaxTokenSize + 1} {
		tok := ""
		for pad := 0; pad < 8 && len(tok) != size; pad++ {
			for n := most - 8; n < most+4 && len(tok) != size; n++ {
				tok = signRaw(plainHeader+strings.Repeat(" ", pad), sized(n), key)
			}
		}
		if len(tok) != size {
			t.Fatalf("no token of %d bytes", size)
		}
		_, err := VerifySignature(tok, key)
		if (err == nil) != (size == MaxTokenSize) {
			t.Errorf("token of %d bytes: %v", size, err)
		}
	}
	_, err := Sign(make([]byte, MaxTokenSize+1), key)
	wantKinds(t, err, ErrInvalid)
	if !strings.Contains(err.Error(), "more than fits") {
		t.Errorf("%v, want it to be about the size", err)
	}
	// A capability too.
	c := testCapability()
	for i := 0; i < 10; i++ {
		c = c.WithClaims(map[string]any{"x" + strconv.Itoa(i): strings.Repeat("x", 5000)})
	}
	_, err = c.Token()
	wantKinds(t, err, ErrInvalid)
	_, err = c.Claims()
	wantKinds(t, err, ErrInvalid)
}

func TestSignRefusesPayloads(t *testing.T) {
	for _, payload := range []string{"", " ", "null", "1", `"x"`, `[]`, `{}x`, `{}{}`, `{"a":1,"a":1}`, `{"a":"\xff"}`, `{"a":1,}`,
		`{'a':1}`, `{"a":01}`, "\ufeff{}", `{"a":"\ud800"}`, "{\"\n\":1}"} {
		tok, err := Sign([]byte(payload), []byte(testKey))
		if err == nil || tok != "" {
			t.Errorf("Sign(%q) = %q, %v", payload, tok, err)
		}
		wantKinds(t, err, ErrInvalid)
	}
	for _, payload := range []string{"{}", " {} ", "\t{\n\"\":\r1}\n", `{"a":{"a":[{},[]]},"b":null}`} {
		tok, err := Sign([]byte(payload), []byte(testKey))
		if err != nil {
			t.Fatalf("Sign(%q): %v", payload, err)
		}
		if got, err := VerifySignature(tok, []byte(testKey)); err != nil || string(got) != payload {
			t.Errorf("VerifySignature = %q, %v, want %q", got, err, payload)
		}
	}
}

// RFC 7515 section 4.1, RFC 7797 section 6, RFC 8725 sections 2.1 and 3.1.
func TestHeaders(t *testing.T) {
	good := []string{
		`{"alg":"HS256"}`,
		`{"typ":"jwt","alg":"HS256"}`,
		`{"typ":"JwT","alg":"HS256"}`,
		"\n{ \"alg\" :\t\"HS256\" , \"kid\":null,\"x\":[{}] } ",
		`{"\u0061lg":"\u0048S256"}`,
		`{"alg":"HS256","kid":{"crit":["exp"],"b64":false}}`,
		`{"alg":"HS256","Alg":"none","ALG":null,"Crit":[],"x5t":"a","x5t#S256":"b"}`,
	}
	bad := []string{
		``, `null`, `[]`, `"HS256"`, `{}`, `{"alg":null}`, `{"alg":["HS256"]}`, `{"alg":{}}`, `{"alg":256}`,
		`{"alg":"none"}`, `{"alg":"None"}`, `{"alg":""}`, `{"alg":"hs256"}`, `{"alg":"HS384"}`, `{"alg":"HS512"}`,
		`{"alg":"RS256"}`, `{"alg":"HS256 "}`, `{"alg":"HS256\u0000"}`, `{"ALG":"HS256"}`, `{"alg":"H\u017f256"}`,
		`{"alg":"HS256","alg":"HS256"}`, `{"alg":"none","alg":"HS256"}`, `{"alg":"HS256","\u0061lg":"HS256"}`,
		`{"alg":"HS256","x":1,"x":1}`, `{"alg":"HS256","x":{"y":1,"y":1}}`,
		`{"alg":"HS256","typ":null}`, `{"alg":"HS256","typ":""}`, `{"alg":"HS256","typ":"JWS"}`, `{"alg":"HS256","typ":"at+jwt"}`,
		`{"alg":"HS256","typ":"application/jwt"}`, `{"alg":"HS256","typ":["JWT"]}`, `{"alg":"HS256","typ":"JWT "}`,
		`{"alg":"HS256"}x`, `{"alg":"HS256",}`, `{"alg":"HS256"`, "\ufeff" + `{"alg":"HS256"}`, `{"alg":"HS256","x":"` + "\xff" + `"}`,
	}
	for _, name := range []string{"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"} {
		for _, value := range []string{`null`, `true`, `false`, `"x"`, `["x"]`, `{}`, `[]`} {
			bad = append(bad, `{"alg":"HS256","`+name+`":`+value+`}`, `{"\u00`+strconv.FormatInt(int64(name[0]), 16)+name[1:]+`":`+value+`,"alg":"HS256"}`)
		}
	}
	for _, h := range good {
		if _, err := VerifySignature(signRaw(h, "{}", []byte(testKey)), []byte(testKey)); err != nil {
			t.Errorf("%s: %v", h, err)
		}
	}
	for _, h := range bad {
		if h == "" {
			continue // an empty part is malformed
		}
		payload, err := VerifySignature(signRaw(h, "{}", []byte(testKey)), []byte(testKey))
		if err == nil || payload != nil {
			t.Errorf("%s: accepted", h)
		}
		wantKinds(t, err, ErrClaims)
	}
	for r := rune(0); r <= 0x3000; r++ {
		for i, c := range "jwt" {
			if typ := "jwt"[:i] + string(r) + "jwt"[i+1:]; (lower(typ) == "jwt") != (r == c || r == c-0x20) {
				t.Errorf("typ %q", typ)
			}
		}
	}
}

// ----------------------------------------------------------------------------
// Strict JSON. fuzz_test.go has the oracle; here are the edges.

// readsJSON reports whether the reader accepts a text as one value.
func readsJSON(text string) bool {
	r := newReader(text)
	r.skip()
	return r.end() == ""
}

func TestStrictJSON(t *testing.T) {
	members := func(n int) string {
		var b strings.Builder
		for i := 0; i < n; i++ {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return "{" + b.String()[1:] + "}"
	}
	nest := func(open, close string, n int) string { return strings.Repeat(open, n) + strings.Repeat(close, n) }
	good := []string{
		`null`, `true`, `false`, `0`, `-0`, `10`, `-1.5e+10`, `1E-5`, `1e9999999999`, `""`, `"\"\\\/\b\f\n\r\t\u00e9\uD83D\uDE00"`, `[]`, `{}`,
		" [ 1 , 2 ] ", "\t\r\n{ \"a\" : 1 , \"b\" : [ ] }", `{"":0}`, `{"a":{"a":{"a":1}}}`, `[{"a":1},{"a":1}]`, `{"é":1,"e\u0301":2}`,
		nest("[", "]", 32), `{"a":` + nest("[", "]", 31) + `}`, members(1024), "[" + members(1024) + "," + members(1024) + "]",
		`"` + "\x7f\u0080\u2028\ufffd\ufeff" + `"`, `"\ufffd"`, `"\u0000"`, `{"A":1,"a":2}`, `"\ud7ff\ue000\uffff\udbff\udfff"`, `"\uABCDEF\uabcdef"`,
		"[" + strings.Repeat("[],", 5000) + "0]",
	}
	bad := []string{
		``, ` `, `nul`, `nulll`, `True`, `tru`, `falsy`, `+1`, `01`, `-`, `-a`, `.5`, `5.`, `5.e1`, `1e`, `1e+`, `1e-x`, `0x10`, `1_000`, `NaN`, `Infinity`, `-01`, `1 2`,
		`"`, `"a`, `"\`, `"\x41"`, `"\u"`, `"\u12"`, `"\u123"`, `"\u123g"`, `"\u12 4"`, `"\U0041"`, "\"\t\"", "\"\x00\"", "\"\n\"", "\"\x1f\"", "\"\\n\x1f\"", `'a'`, `"\a"`, "\"\\\x00\"",
		"\"\\u0\x1041\"", "\"\\u00\x1941\"",
		`"\ud800"`, `"\udc00"`, `"\ud800\ud800"`, `"\ud800a"`, `"\ud800\n"`, `"\ud800\u0041"`, `"\udc00\ud800"`, `"\udc00\udc00"`, `"\ud800\`, `"\ud800\u`, `"\ud800\ue000"`, `"\ud800\udbff"`, `"\udfff"`, `"\udbff"`, `"\ud800\\udc00"`, `"\ud800\xdc00"`,
		`[`, `]`, `[1`, `[1,`, `[1,]`, `[,1]`, `[1 2]`, `[1}`, `{`, `}`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `{,"a":1}`, `{"a" 1}`, `{a:1}`, `{1:1}`, `{"a":1 "b":2}`, `{"a":1]`, `{"a":}`, `{"a"::1}`, `{null:1}`, `[:]`, `{"a",1}`,
		`{"a":1,"a":1}`, `{"a":1,"b":2,"a":3}`, `{"a":1,"\u0061":1}`, `{"x":{"a":1,"a":1}}`, `[{"a":1,"a":1}]`, `{"":1,"":1}`, `{"\ud83d\ude00":1,"😀":1}`, `{"a":{"b":1},"a":1}`,
		"\ufeff1", "1\ufeff", "\u00a01", "1\v", "\f1", "1\x00", "\x001", `1,`, `1//`, `/**/1`, `1#`, "\xff", "\"\xff\"", "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"", "{\"\xfe\":1,\"\xff\":1}", "\"\\n\xff\"",
		nest("[", "]", 33), `{"a":` + nest("[", "]", 32) + `}`, nest(`{"a":`, "}", 33), members(1025), "[" + members(1025) + "]", strings.Repeat("[", 100000), strings.Repeat(`{"a":`, 100000),
	}
	for _, text := range good {
		if !readsJSON(text) {
			t.Errorf("refused: %.80q", text)
		}
		if !json.Valid([]byte(text)) {
			t.Errorf("encoding/json refuses %.80q", text)
		}
	}
	for _, text := range bad {
		if readsJSON(text) {
			t.Errorf("accepted: %.80q", text)
		}
	}
	// All bytes in all places that a byte can be in.
	for b := 0; b < 256; b++ {
		for _, around := range []string{"%s", "%s1", "1%s", `"%s"`, `"\%s"`, `"\u%s041"`, `"\u004%s"`, `"\n%s"`, "[%s]", "[1%s2]", "{%s}", `{"a"%s1}`, "1%s1", "-%s", "1.%s", "1e%s", "t%sue"} {
			text := strings.Replace(around, "%s", string([]byte{byte(b)}), 1)
			if got, want := readsJSON(text), slowStrict([]byte(text)); got != want {
				t.Errorf("%q: %v, want %v", text, got, want)
			}
		}
	}
}

// Two members of one name are found wherever they stand, in objects of few
// members, of which each is compared with each, and of many, which are sorted.
func TestDuplicateNames(t *testing.T) {
	for _, n := range []int{2, 3, 15, 16, 17, 18, 40, 1024} {
		names := make([]string, n)
		for i := range names {
			names[i] = strconv.Itoa((i*7 + 3) % n) // in no order; no n is a multiple of 7
		}
		object := func() string { return `{"` + strings.Join(names, `":{"0":0},"`) + `":{"0":0}}` }
		if text := object(); !readsJSON(text) || !readsJSON(`{"0":`+text+`,"1":`+text+`}`) {
			t.Errorf("%d members: refused", n)
		}
		for second := 1; second < n; second += 1 + n/12 {
			for first := 0; first < second; first += 1 + n/12 {
				own := names[second]
				names[second] = `\u003` + names[first][:1] + names[first][1:] // the same digits
				if text := object(); readsJSON(text) || readsJSON(`{"a":`+text+`}`) {
					t.Fatalf("%d members, of which %d and %d have one name: accepted", n, first, second)
				}
				names[second] = own
			}
		}
	}
}

// What the reader unescapes is what encoding/json does.
func TestStrings(t *testing.T) {
	for r := rune(0); r <= utf8.MaxRune; r++ {
		if r >= 0xD800 && r <= 0xDFFF {
			continue
		}
		if r > 0x3000 && r < 0xD000 || r > 0x10100 && r < 0x10FF00 {
			r += 96 // not all of the middle
		}
		want := string(r)
		spellings := []string{string(appendString(nil, "", want))}
		if r < 0x10000 {
			spellings = append(spellings, fmt.Sprintf(`"\u%04x"`, r), fmt.Sprintf(`"\u%04X"`, r))
		} else {
			spellings = append(spellings, fmt.Sprintf(`"\u%04x\u%04X"`, 0xD800+(r-0x10000)>>10, 0xDC00+(r-0x10000)&0x3FF))
		}
		for _, s := range spellings {
			reader := newReader(s)
			if got := reader.string(); got != want || reader.end() != "" {
				t.Fatalf("%s is %q, want %q", s, got, want)
			}
		}
	}
	for in, want := range map[string]string{
		"":                                  `""`,
		"a\"\\/b":                           `"a\"\\/b"`,
		"\b\f\n\r\t\x00\x1f\v\x7f<>&\u2028": `"\b\f\n\r\t\u0000\u001f\u000b` + "\x7f<>&\u2028" + `"`,
	} {
		if got := string(appendString(nil, "", in)); got != want {
			t.Errorf("appendString(%q) = %s, want %s", in, got, want)
		}
	}
}

// ----------------------------------------------------------------------------
// Claims.

// goodClaims are members of a payload that is read; tests change some.
func goodClaims() map[string]string {
	return map[string]string{
		"iss": quoted(testAccount), "exp": "1464099968", "version": `"v1"`, "account_sid": quoted(testAccount),
		"channel": quoted(testWorker), "workspace_sid": quoted(testWorkspace), "worker_sid": quoted(testWorker), "policies": "[]",
	}
}

func quoted(s string) string { return `"` + s + `"` }

// payloadWith returns good claims with one changed; "" removes it.
func payloadWith(changes ...string) string {
	claims := goodClaims()
	for i := 0; i < len(changes); i += 2 {
		claims[changes[i]] = changes[i+1]
	}
	b := []string{}
	for name, value := range claims {
		if value != "" {
			b = append(b, `"`+name+`":`+value)
		}
	}
	sort.Strings(b)
	return "{" + strings.Join(b, ",") + "}"
}

func verifyPayload(payload string, clock Clock) (Claims, error) {
	return VerifyAndValidate(signRaw(plainHeader, payload, []byte(testKey)), []byte(testKey), clock)
}

func TestClaims(t *testing.T) {
	clock := Clock{At: testStart}
	policy := func(s string) string { return `[{"url":"u","method":"m","allow":true` + s + `}]` }
	const other = "fedcba9876543210fedcba9876543210"
	for _, changes := range [][]string{
		{},
		{"friendly_name", "null"}, {"friendly_name", `""`}, {"friendly_name", `"a\u0000\n"`},
		{"version", `"\u00761"`},
		{"nbf", "1464096368"}, {"nbf", "1464096367.75"}, {"nbf", "0"}, {"nbf", "-0"}, {"exp", "1.464099968e9"}, {"exp", "14640999680e-1"},
		{"iat", "0"}, {"iat", "253402300799"}, {"iat", "1e3"}, {"sub", `""`}, {"jti", `"x"`}, {"Aud", "1"}, {"EXP", "null"}, {"", "1"},
		{"scope", `"scope:client:incoming?clientName=a"`}, {"x", `{"iss":[{"aud":1}]}`},
		{"policies", policy("")}, {"policies", policy(`,"allowed":true`)}, {"policies", policy(`,"x":{"url":1}`)},
		{"policies", policy(`,"query_filter":null,"post_filter":{}`)}, {"policies", policy(`,"query_filter":{"":{"required":false}}`)},
		{"policies", `[{"url":"","method":"","allowed":false}]`},
		{"channel", quoted(testTaskQueue), "worker_sid", "", "taskqueue_sid", quoted(testTaskQueue)},
		{"channel", quoted(testWorkspace), "worker_sid", ""},
		{"iss", quoted("AC" + other), "account_sid", quoted("AC" + other)}, {"iss", quoted("AC" + strings.ToUpper(other)), "account_sid", quoted("AC" + strings.ToUpper(other))},
	} {
		if _, err := verifyPayload(payloadWith(changes...), clock); err != nil {
			t.Errorf("%v: %v", changes, err)
		}
	}

	bad := [][]string{
		{"aud", "null"}, {"aud", `"x"`}, {"aud", "[]"}, {`\u0061ud`, "1"},
		{"nbf", "null"}, {"nbf", `"1464096368"`}, {"iat", "null"}, {"iat", `"0"`}, {"iat", "-1"}, {"iat", "253402300800"}, {"sub", "null"}, {"sub", "1"}, {"jti", "[]"}, {"jti", "null"},
		{"friendly_name", "1"}, {"friendly_name", "[]"}, {"friendly_name", "nul"},
		{"version", `"v2"`}, {"version", `"V1"`}, {"version", `"v1 "`}, {"version", "1"},
		{"iss", quoted("AC" + other)}, {"account_sid", quoted("AC" + other)}, {"iss", quoted(strings.ToLower(testAccount))},
		{"iss", `"x"`, "account_sid", `"x"`}, {"iss", quoted(testWorker), "account_sid", quoted(testWorker)},
		{"iss", quoted(testAccount + "0"), "account_sid", quoted(testAccount + "0")}, {"iss", quoted(testAccount[:33]), "account_sid", quoted(testAccount[:33])},
		{"iss", quoted(testAccount[:33] + "g"), "account_sid", quoted(testAccount[:33] + "g")},
		{"workspace_sid", quoted("WS*")}, {"workspace_sid", quoted(testWorker)}, {"workspace_sid", quoted("ws" + testWorkspace[2:])},
		{"channel", quoted("WK" + other)}, {"worker_sid", quoted("WK" + other)}, {"worker_sid", ""}, {"worker_sid", `""`}, {"worker_sid", "null"},
		{"taskqueue_sid", quoted(testTaskQueue)}, {"taskqueue_sid", `""`}, {"taskqueue_sid", "null"}, {"taskqueue_sid", quoted(testWorker)},
		{"channel", quoted(testTaskQueue)}, {"channel", quoted(testTaskQueue), "worker_sid", ""},
		{"channel", quoted(testTaskQueue), "taskqueue_sid", quoted(testTaskQueue)},
		{"channel", quoted(testTaskQueue), "taskqueue_sid", quoted("WQ" + other), "worker_sid", ""},
		{"channel", quoted(testWorkspace)}, {"channel", quoted("WS" + other), "worker_sid", ""},
		{"channel", quoted(testWorkspace), "worker_sid", "", "taskqueue_sid", quoted(testWorkspace)},
		{"channel", quoted(testWorkspace), "worker_sid", quoted(testWorkspace)},
		{"channel", quoted(testAccount), "worker_sid", ""}, {"channel", `"wk` + testWorker[2:] + `"`, "worker_sid", `"wk` + testWorker[2:] + `"`},
		{"channel", `"alice"`, "worker_sid", `"alice"`},
		{"policies", "{}"}, {"policies", "null"}, {"policies", `"[]"`}, {"policies", "[[]]"}, {"policies", "[null]"}, {"policies", "[1]"}, {"policies", "[{}]"},
		{"policies", `[{"method":"m","allow":true}]`}, {"policies", `[{"url":"u","allow":true}]`}, {"policies", `[{"url":"u","method":"m"}]`},
		{"policies", `[{"URL":"u","method":"m","allow":true}]`}, {"policies", `[{"url":null,"method":"m","allow":true}]`}, {"policies", `[{"url":"u","method":1,"allow":true}]`},
		{"policies", `[{"url":"u","method":"m","allow":1}]`}, {"policies", `[{"url":"u","method":"m","allow":null}]`}, {"policies", `[{"url":"u","method":"m","allow":"true"}]`},
		{"policies", `[{"url":"u","method":"m","allowed":null}]`}, {"policies", policy(`,"allowed":false`)}, {"policies", policy(`,"allowed":null`)}, {"policies", policy(`,"allow":true`)},
		{"policies", `[{"url":"u","method":"m","allow":false,"allowed":true}]`},
		{"policies", policy(`,"query_filter":[]`)}, {"policies", policy(`,"post_filter":""`)}, {"policies", policy(`,"query_filter":false`)}, {"policies", policy(`,"post_filter":{"a":null}`)},
		{"policies", policy(`,"post_filter":{"a":true}`)}, {"policies", policy(`,"post_filter":{"a":{}}`)}, {"policies", policy(`,"post_filter":{"a":{"required":1}}`)},
		{"policies", policy(`,"post_filter":{"a":{"required":null}}`)}, {"policies", policy(`,"post_filter":{"a":{"Required":true}}`)},
		{"policies", policy(`,"post_filter":{"a":{"required":true,"x":1}}`)}, {"policies", policy(`,"post_filter":{"a":{"required":true},"a":{"required":true}}`)},
		{"policies", policy(`,"query_filter":{"a":{"required":true,"required":true}}`)}, {"policies", policy(`,"x":{"y":1,"y":1}`)},
		{"x", `{"y":1,"y":1}`}, {"\\u0069ss", quoted(testAccount)},
	}
	for name := range goodClaims() {
		for _, value := range []string{"", "null", "true", `{}`, `["x"]`, `""`, `" "`} {
			bad = append(bad, []string{name, value})
		}
		if name != "exp" {
			bad = append(bad, []string{name, "1"})
		}
	}
	for _, changes := range bad {
		c, err := verifyPayload(payloadWith(changes...), clock)
		if err == nil || !reflect.DeepEqual(c, Claims{}) {
			t.Errorf("%v: accepted", changes)
		}
		wantKinds(t, err, ErrClaims)
	}
	for _, payload := range []string{"null", "[]", `""`, "1", "{}", payloadWith() + "x", payloadWith()[1:], "[" + payloadWith() + "]"} {
		_, err := verifyPayload(payload, clock)
		wantKinds(t, err, ErrClaims)
		if err == nil {
			t.Errorf("%s: accepted", payload)
		}
	}
}

// The other tokens of the same account, with the same key: none passes as a
// TaskRouter capability.
func TestOtherKinds(t *testing.T) {
	clock := Clock{At: testStart}
	voice := `{"iss":"` + testAccount + `","exp":1464099968,"scope":"scope:client:incoming?clientName=alice scope:client:outgoing?appSid=AP0123456789abcdef0123456789abcdef"}`
	access := `{"jti":"SK0123456789abcdef0123456789abcdef-1464096368","iss":"SK0123456789abcdef0123456789abcdef","sub":"` + testAccount +
		`","exp":1464099968,"grants":{"identity":"alice","task_router":{"workspace_sid":"` + testWorkspace + `","worker_sid":"` + testWorker + `","role":"worker"}}}`
	good := payloadWith()
	for name, test := range map[string]struct{ header, payload string }{
		"voice capability":                    {plainHeader, voice},
		"Access Token":                        {`{"alg":"HS256","typ":"JWT","cty":"twilio-fpa;v=1"}`, access},
		"Access Token without cty":            {plainHeader, access},
		"capability under an Access header":   {`{"alg":"HS256","typ":"JWT","cty":"twilio-fpa;v=1"}`, good},
		"capability of another service":       {plainHeader, strings.Replace(good, `"v1"`, `"v2"`, 1)},
		"any other claims":                    {plainHeader, `{"sub":"alice","exp":1464099968}`},
		"ID token with the right account":     {plainHeader, payloadWith("aud", quoted(testAccount))},
		"task queue token posing as worker's": {plainHeader, payloadWith("channel", quoted(testTaskQueue), "taskqueue_sid", quoted(testTaskQueue))},
	} {
		tok := signRaw(test.header, test.payload, []byte(testKey))
		claims, err := VerifyAndValidate(tok, []byte(testKey), clock)
		if err == nil || !reflect.DeepEqual(claims, Claims{}) {
			t.Errorf("%s: accepted", name)
		}
		wantKinds(t, err, ErrClaims)
	}
	if _, err := VerifyAndValidate(signRaw(plainHeader, good, []byte(testKey)), []byte(testKey), clock); err != nil {
		t.Error(err)
	}
	// And nothing made here passes as a voice capability or has grants.
	for _, name := range []string{"scope", "grants"} {
		_, err := testCapability().WithClaims(map[string]any{name: "x"}).Token()
		wantKinds(t, err, ErrInvalid)
	}
}

// RFC 7519 sections 2, 4.1.4 and 4.1.5. An exponent that wraps an int, of
// whatever size, must not make a far time a near one.
func TestNumericDates(t *testing.T) {
	type date struct {
		text string
		want time.Time
	}
	at := func(sec, nsec int64) time.Time { return time.Unix(sec, nsec).UTC() }
	for _, d := range []date{
		{"0", at(0, 0)}, {"-0", at(0, 0)}, {"0.0", at(0, 0)}, {"1", at(1, 0)}, {"1464099968", at(1464099968, 0)},
		{"1464099968.0", at(1464099968, 0)}, {"1464099968.5", at(1464099968, 5e8)}, {"1464099968.25e0", at(1464099968, 25e7)},
		{"14640999.68e2", at(1464099968, 0)}, {"14640999680e-1", at(1464099968, 0)}, {"1464099968000000000000e-12", at(1464099968, 0)},
		{"0.000001464099968e+15", at(1464099968, 0)}, {"1E9", at(1e9, 0)}, {"0.5", at(0, 5e8)}, {"1e-400", at(0, 0)}, {"1e-9", at(0, 1)}, {"1e-10", at(0, 0)}, {"9.9e-10", at(0, 0)}, {"-0e5", at(0, 0)}, {"-0.00E-1", at(0, 0)},
		{"1464099968.123456", at(1464099968, 123456000)}, {"1464099968.9999999999", at(1464099968, 999999999)}, {"253402300799.9999999999999", at(253402300799, 999999999)},
		{"2147483647", at(1<<31-1, 0)}, {"2147483648", at(1<<31, 0)}, {"4294967296", at(1<<32, 0)},
		{"253402300799", at(253402300799, 0)}, {"253402300799.5", at(253402300799, 5e8)}, {"2.53402300799e11", at(253402300799, 0)},
		{"0e9999999999999999999", at(0, 0)}, {"1464099968" + strings.Repeat("0", 400) + "e-400", at(1464099968, 0)},
	} {
		c, err := verifyPayload(payloadWith("nbf", d.text, "exp", "253402300799"), Clock{At: at(253402300798, 0)})
		if d.want.Unix() >= 253402300798 {
			wantKinds(t, err, ErrNotYetValid)
		} else if err != nil || !c.NotBefore.Equal(d.want) || c.NotBefore.Location() != time.UTC {
			t.Errorf("nbf %.30s is %v, want %v: %v", d.text, c.NotBefore, d.want, err)
		}
		var read Claims
		if err := read.UnmarshalJSON([]byte(payloadWith("exp", d.text))); err != nil || !read.ExpiresAt.Equal(d.want) {
			t.Errorf("exp %.30s is %v, want %v: %v", d.text, read.ExpiresAt, d.want, err)
		}
	}
	// Against exact arithmetic.
	rnd := rand.New(rand.NewSource(1))
	end := new(big.Rat).SetInt64(endOfTime)
	for i := 0; i < 20000; i++ {
		text := strings.TrimLeft(fmt.Sprint(rnd.Int63n(1<<uint(1+rnd.Intn(62)))), "0") + "0"
		if n := rnd.Intn(len(text)); n > 0 {
			text = text[:n] + "." + text[n:]
		}
		if strings.HasPrefix(text, "0") || rnd.Intn(4) == 0 {
			text = "0." + strings.Repeat("0", rnd.Intn(12)) + strings.ReplaceAll(text, ".", "")
		}
		if rnd.Intn(2) == 0 {
			text += fmt.Sprintf("%c%+d", "eE"[rnd.Intn(2)], rnd.Intn(40)-20)
		}
		value, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatal(text)
		}
		r := newReader(text)
		got := r.date()
		if fine := r.end() == ""; fine != (value.Cmp(end) < 0) {
			t.Fatalf("%s: accepted: %v", text, fine)
		} else if !fine {
			continue
		}
		nanoseconds := value.Mul(value, new(big.Rat).SetInt64(1e9))
		want := new(big.Int).Quo(nanoseconds.Num(), nanoseconds.Denom())
		have := new(big.Int).Add(new(big.Int).Mul(big.NewInt(got.Unix()), big.NewInt(1e9)), big.NewInt(int64(got.Nanosecond())))
		if have.Cmp(want) != 0 {
			t.Fatalf("%s is %v ns, want %v", text, have, want)
		}
	}

	bad := []string{
		"-1", "-0.1", "-1e-3", "253402300800", "253402300800.0", "25340230080e1", "-1e-400", "1e12", "1e19", "1e308", "1e309", "1e400", "-1e400", strings.Repeat("9", 400),
		"9223372036854775807", "9223372036854775808", "18446744073709551616", "null", "true", `"1464099968"`, `""`, "[1464099968]", "{}",
		"01464099968", "1464099968.", ".5e10", "--1", "+1", "1e", "0x1", "1_0", "Infinity", "NaN", "1464099968,0",
	}
	for _, e := range []string{"2147483647", "2147483648", "2147483649", "4294967295", "4294967296", "4294967297", "9223372036854775807",
		"9223372036854775808", "9223372036854775809", "18446744073709551615", "18446744073709551616", "18446744073709551617", "99999999999999999999999"} {
		bad = append(bad, "1e"+e, "1e+"+e, "1464099968e"+e, "0.1e"+e)
		// Below everything: zero, so long expired, and not the near future.
		for _, text := range []string{"1e-" + e, "1464099968e-" + e} {
			_, err := verifyPayload(payloadWith("exp", text), Clock{At: testStart})
			wantKinds(t, err, ErrExpired)
		}
	}
	for _, text := range bad {
		for _, name := range []string{"exp", "nbf", "iat"} {
			c, err := verifyPayload(payloadWith(name, text), Clock{At: testStart})
			if err == nil || !reflect.DeepEqual(c, Claims{}) {
				t.Errorf("%s %.30s: accepted", name, text)
			}
			wantKinds(t, err, ErrClaims)
		}
	}
}

func TestTimes(t *testing.T) {
	exp := time.Unix(1464099968, 0)
	nbf := time.Unix(1464096368, 0)
	payload := payloadWith("nbf", "1464096368", "exp", "1464099968")
	var claims Claims
	if err := claims.UnmarshalJSON([]byte(payload)); err != nil {
		t.Fatal(err)
	}
	const most = 10 * time.Minute
	last := time.Unix(endOfTime-1, 999999999)
	for _, test := range []struct {
		name  string
		clock Clock
		kind  error // nil: valid
	}{
		{"nbf", Clock{At: nbf}, nil},
		{"nbf - 1ns", Clock{At: nbf.Add(-1)}, ErrNotYetValid},
		{"exp - 1ns", Clock{At: exp.Add(-1)}, nil},
		{"exp", Clock{At: exp}, ErrExpired},
		{"exp in another zone", Clock{At: exp.In(time.FixedZone("x", 3600))}, ErrExpired},
		{"nbf less leeway", Clock{At: nbf.Add(-time.Minute), Leeway: time.Minute}, nil},
		{"nbf less leeway - 1ns", Clock{At: nbf.Add(-time.Minute - 1), Leeway: time.Minute}, ErrNotYetValid},
		{"exp and leeway - 1ns", Clock{At: exp.Add(time.Minute - 1), Leeway: time.Minute}, nil},
		{"exp and leeway", Clock{At: exp.Add(time.Minute), Leeway: time.Minute}, ErrExpired},
		{"most leeway", Clock{At: exp.Add(most - 1), Leeway: most}, nil},
		{"too much leeway", Clock{At: nbf, Leeway: most + 1}, ErrInvalid},
		{"negative leeway", Clock{At: nbf, Leeway: -1}, ErrInvalid},
		{"first instant", Clock{At: time.Unix(0, 0)}, ErrNotYetValid},
		{"before it", Clock{At: time.Unix(-1, 999999999)}, ErrInvalid},
		{"last instant", Clock{At: last}, ErrExpired},
		{"after it", Clock{At: last.Add(1)}, ErrInvalid},
		{"far after it", Clock{At: time.Unix(1<<62, 0)}, ErrInvalid},
		{"now, by the system's clock", Clock{}, ErrExpired},
	} {
		err := claims.Validate(test.clock)
		if (err == nil) != (test.kind == nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		if test.kind != nil {
			wantKinds(t, err, test.kind)
		}
		got, err := verifyPayload(payload, test.clock)
		if (err == nil) != (test.kind == nil) || (err == nil) != reflect.DeepEqual(got, claims) {
			t.Errorf("%s: VerifyAndValidate = %+v, %v", test.name, got, err)
		}
		if test.kind != nil {
			wantKinds(t, err, test.kind)
		}
	}

	// At both ends of the range with leeway, where times could leave it.
	wide := claims
	wide.NotBefore, wide.ExpiresAt = time.Unix(0, 0), last
	for _, at := range []time.Time{time.Unix(0, 0), last.Add(-1)} {
		if err := wide.Validate(Clock{At: at, Leeway: most}); err != nil {
			t.Error(err)
		}
	}
	// The system's clock is read when At is zero.
	if _, err := verifyPayload(payloadWith("exp", strconv.FormatInt(time.Now().Unix()+60, 10)), Clock{}); err != nil {
		t.Error(err)
	}
	_, err := verifyPayload(payloadWith("exp", strconv.FormatInt(time.Now().Unix()-1, 10)), Clock{})
	wantKinds(t, err, ErrExpired)
	if _, err := verifyPayload(payloadWith("exp", strconv.FormatInt(time.Now().Unix()-1, 10)), Clock{Leeway: time.Minute}); err != nil {
		t.Error(err)
	}
	// Both: not yet valid is found first.
	_, err = verifyPayload(payloadWith("nbf", "1464099969", "exp", "1464096367"), Clock{At: testStart})
	wantKinds(t, err, ErrNotYetValid)
}

// Claims made by hand are checked by Validate as those read are.
func TestValidateByHand(t *testing.T) {
	good := Must(testCapability().Claims())
	clock := Clock{At: testStart}
	if err := good.Validate(clock); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Claims){
		"zero":               func(c *Claims) { *c = Claims{} },
		"issuer":             func(c *Claims) { c.Issuer = "" },
		"version":            func(c *Claims) { c.Version = "" },
		"account":            func(c *Claims) { c.AccountSID, c.Issuer = "", "" },
		"channel":            func(c *Claims) { c.Channel, c.WorkerSID = "", "" },
		"workspace":          func(c *Claims) { c.WorkspaceSID = "" },
		"worker":             func(c *Claims) { c.WorkerSID = "" },
		"worker and queue":   func(c *Claims) { c.TaskQueueSID = testTaskQueue },
		"no exp":             func(c *Claims) { c.ExpiresAt = time.Time{} },
		"exp too early":      func(c *Claims) { c.ExpiresAt = time.Unix(-1, 0) },
		"exp too late":       func(c *Claims) { c.ExpiresAt = time.Unix(endOfTime, 0) },
		"exp that overflows": func(c *Claims) { c.ExpiresAt = time.Unix(1<<63-1, 0) },
		"nbf too early":      func(c *Claims) { c.NotBefore = time.Unix(-1, 0) },
		"nbf too late":       func(c *Claims) { c.NotBefore = time.Unix(endOfTime, 0) },
		"aud":                func(c *Claims) { c.Extra = map[string]json.RawMessage{"aud": json.RawMessage(`"x"`)} },
	} {
		c := good
		change(&c)
		err := c.Validate(clock)
		if err == nil {
			t.Errorf("%s: accepted", name)
		}
		wantKinds(t, err, ErrClaims)
		wantKinds(t, c.Validate(Clock{Leeway: -1}), ErrInvalid)
	}
}

func TestUnmarshalJSON(t *testing.T) {
	good := Must(testCapability().WithClaims(map[string]any{"a": 1, "b": "x"}).Claims())
	c := good
	for _, bad := range []string{"null", "", "{}", payloadWith("aud", "1"), payloadWith() + " x", payloadWith("x", `{"a":1,"a":2}`)} {
		wantKinds(t, c.UnmarshalJSON([]byte(bad)), ErrClaims)
		if !reflect.DeepEqual(c, good) {
			t.Fatalf("changed by %q", bad)
		}
	}
	// Through encoding/json, and over old claims: nothing is merged.
	if err := json.Unmarshal([]byte(" "+payloadWith("z", "[1, 2]")+"\n"), &c); err != nil {
		t.Fatal(err)
	}
	if want := map[string]json.RawMessage{"z": json.RawMessage("[1, 2]")}; !reflect.DeepEqual(c.Extra, want) || c.Policies == nil || len(c.Policies) != 0 {
		t.Errorf("Extra = %s, Policies = %v", c.Extra, c.Policies)
	}
	if err := json.Unmarshal([]byte("null"), &c); !errors.Is(err, ErrClaims) {
		t.Errorf("null: %v", err)
	}
	// What was read does not share memory with what it was read from.
	data := []byte(payloadWith("z", "[1, 2]", "policies", `[{"url":"u","method":"m","allow":true}]`))
	if err := c.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	for i := range data {
		data[i] = 'X'
	}
	if c.Channel != testWorker || string(c.Extra["z"]) != "[1, 2]" || c.Policies[0].URL != "u" {
		t.Errorf("shares memory: %+v", c)
	}
	if cap(c.Policies) != len(c.Policies) {
		t.Error("Policies have spare capacity")
	}
}

func TestMarshalJSON(t *testing.T) {
	good := Must(testCapability().Allow("POST", ResourceURL(testWorkspace, "Tasks"), Filter{"a": Optional}, Filter{"b": Required}).
		WithClaims(map[string]any{"a": []any{1, "<&>"}, "b": "x"}).Claims())
	check := func(what string, c Claims) {
		t.Helper()
		b, err := c.MarshalJSON()
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		viaJSON, err := json.Marshal(c)
		if err != nil {
			t.Errorf("%s: json.Marshal: %v", what, err)
		}
		for _, data := range [][]byte{b, viaJSON} {
			var back Claims
			if err := back.UnmarshalJSON(data); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			if string(data) == string(b) && !reflect.DeepEqual(back, c) {
				t.Errorf("%s: read back %+v\nwant %+v", what, back, c)
			}
			again, err := back.MarshalJSON()
			if err != nil || string(data) == string(b) && string(again) != string(b) {
				t.Errorf("%s: the second time %s, %v", what, again, err)
			}
		}
	}
	check("minted", good)
	for what, change := range map[string]func(*Claims){
		"names that escape": func(c *Claims) { c.FriendlyName = "\"\\\x00\x1f<>&\u2028\u2029é" },
		"version":           func(c *Claims) { c.Version = "\n" },
		"policies": func(c *Claims) {
			c.Policies = []Policy{{"\"", "\\", Filter{"\"\n": Required}, Filter{"": Optional}, false}, {}}
		},
		"no policies": func(c *Claims) { c.Policies = []Policy{} },
		"both SIDs":   func(c *Claims) { c.TaskQueueSID = "x" },
		"no nbf":      func(c *Claims) { c.NotBefore = time.Time{} },
		"no extra":    func(c *Claims) { c.Extra = nil },
		"extra": func(c *Claims) {
			c.Extra = map[string]json.RawMessage{"": json.RawMessage("{ \"x\": [ ] }"), "\"\n": json.RawMessage("null"), "Exp": json.RawMessage("1"), "scope": json.RawMessage("1")}
		},
	} {
		c := good
		change(&c)
		check(what, c)
	}
	// Empty and nil are the same.
	c := good
	c.Policies, c.Extra = nil, map[string]json.RawMessage{}
	if b, err := c.MarshalJSON(); err != nil || !strings.HasSuffix(string(b), `"policies":[]}`) {
		t.Errorf("%s, %v", b, err)
	}

	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	many := func(n int) map[string]json.RawMessage {
		m := map[string]json.RawMessage{}
		for i := 0; i < n; i++ {
			m[strconv.Itoa(i)] = json.RawMessage("0")
		}
		return m
	}
	extra := func(name, value string) func(*Claims) {
		return func(c *Claims) { c.Extra = map[string]json.RawMessage{name: json.RawMessage(value)} }
	}
	const bad = "\xff"
	for what, change := range map[string]func(*Claims){
		"zero":             func(c *Claims) { *c = Claims{} },
		"fraction of exp":  func(c *Claims) { c.ExpiresAt = c.ExpiresAt.Add(1) },
		"fraction of nbf":  func(c *Claims) { c.NotBefore = c.NotBefore.Add(5e8) },
		"exp too early":    func(c *Claims) { c.ExpiresAt = time.Unix(-1, 0) },
		"exp too late":     func(c *Claims) { c.ExpiresAt = time.Unix(endOfTime, 0) },
		"exp missing":      func(c *Claims) { c.ExpiresAt = time.Time{} },
		"nbf too late":     func(c *Claims) { c.NotBefore = time.Unix(endOfTime, 0) },
		"no issuer":        func(c *Claims) { c.Issuer = "" },
		"no channel":       func(c *Claims) { c.Channel = "" },
		"UTF-8":            func(c *Claims) { c.FriendlyName = bad },
		"UTF-8 in URL":     func(c *Claims) { c.Policies = []Policy{{URL: bad}} },
		"UTF-8 in method":  func(c *Claims) { c.Policies = []Policy{{Method: bad}} },
		"UTF-8 in filter":  func(c *Claims) { c.Policies = []Policy{{PostFilter: Filter{bad: Required}}} },
		"UTF-8 in name":    extra(bad, "1"),
		"UTF-8 in value":   extra("x", `"`+bad+`"`),
		"registered":       extra("iss", quoted(testAccount)),
		"registered, free": extra("taskqueue_sid", quoted(testTaskQueue)),
		"aud":              extra("aud", `"x"`),
		"sub":              extra("sub", "1"),
		"iat":              extra("iat", `"1"`),
		"iat out of range": extra("iat", "-1"),
		"nil value":        func(c *Claims) { c.Extra = map[string]json.RawMessage{"x": nil} },
		"two members":      extra("x", `1,"y":2`),
		"end of object":    extra("x", `1}`),
		"white space":      extra("x", " 1"),
		"white space, end": extra("x", "1\n"),
		"duplicates":       extra("x", `{"a":1,"a":1}`),
		"depth":            extra("x", nest(32)),
		"members":          func(c *Claims) { c.Extra = many(1024 - 9) },
	} {
		c := good
		change(&c)
		b, err := c.MarshalJSON()
		if err == nil || b != nil {
			t.Errorf("%s: %s", what, b)
		}
		wantKinds(t, err, ErrInvalid)
		if _, err := json.Marshal(c); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: json.Marshal: %v", what, err)
		}
	}
	c = good
	extra("x", nest(31))(&c)
	check("depth", c)
	c.Extra = many(1024 - 10)
	check("members", c)
}

// ----------------------------------------------------------------------------
// Minting.

// Every refusal: what is wrong, and what the error must name. The error must not
// quote what was passed.
func TestRefusals(t *testing.T) {
	base := testCapability()
	tasks := ResourceURL(testWorkspace, "Tasks", "**")
	type refusal struct {
		name string
		c    Capability
		want string // in the text
	}
	cases := []refusal{
		{"zero", Capability{}, "zero Capability"},
		{"zero with everything", Capability{}.WithAccountSID(testAccount).WithAuthToken(testKey).WithWorkerSID(testWorker).WithWorkspaceSID(testWorkspace).WithTTL(time.Hour), "zero Capability"},
		{"TTL 0", base.WithTTL(0), "TTL"},
		{"TTL negative", base.WithTTL(-time.Hour), "TTL"},
		{"TTL under a second", base.WithTTL(time.Second - 1), "TTL"},
		{"TTL to the year 10000", base.StartingAt(time.Unix(endOfTime-3600, 0)), "end"},
		{"largest TTL", base.StartingAt(time.Unix(endOfTime-3600, 0)).WithTTL(1<<63 - 1), "end"},
		{"start zero", base.StartingAt(time.Time{}), "start"},
		{"start 1969", base.StartingAt(time.Unix(-1, 999999999)), "start"},
		{"start 10000", base.StartingAt(time.Unix(endOfTime, 0)), "start"},
		{"start that wraps", base.StartingAt(time.Unix(1<<63-1, 0)), "start"},
		{"account empty", base.WithAccountSID(""), "account SID (TWILIO_ACCOUNT_SID)"},
		{"workspace empty", base.WithWorkspaceSID(""), "workspace SID"},
		{"worker empty", base.WithWorkerSID(""), "worker SID"},
		{"queue", credentials(NewTaskQueue(testWorker, testWorkspace)), "task queue SID"},
		{"workspace's own", credentials(NewWorkspace(testWorker)), "workspace SID"},
		{"worker of a queue", credentials(NewTaskQueue(testTaskQueue, testWorkspace)).WithWorkerSID(testTaskQueue), "WithWorkerSID"},
		{"worker of a workspace", credentials(NewWorkspace(testWorkspace)).WithWorkerSID(testWorker), "WithWorkerSID"},
		{"activity of a queue", credentials(NewTaskQueue(testTaskQueue, testWorkspace)).AllowActivityUpdates(), "AllowActivityUpdates"},
		{"reservations of a workspace", credentials(NewWorkspace(testWorkspace)).AllowReservationUpdates(), "AllowReservationUpdates"},
		{"friendly name empty", base.WithFriendlyName(""), "friendly name"},
		{"friendly name of 257", base.WithFriendlyName(strings.Repeat("é", 257)), "friendly name: want 1 to 256 characters"},
		{"friendly name not UTF-8", base.WithFriendlyName("a\xffb"), "friendly name"},
	}
	for _, c := range "\x00\t\n\r\x1f\x7f\u0080\u0085\u009f" {
		cases = append(cases, refusal{fmt.Sprintf("friendly name with %U", c), base.WithFriendlyName("a" + string(c)), "friendly name"})
	}
	const hex = "0123456789abcdef0123456789abcdef"
	for _, sid := range []string{"x", "AC", hex, "ac" + hex, "Ac" + hex, "XX" + hex, "AC" + hex + "0", "AC" + hex[1:], "AC" + hex[1:] + "g", "AC" + hex[1:] + "G",
		"AC" + hex[1:] + "é", " AC" + hex[1:], "AC" + hex[1:] + " ", "**", "*", "AC" + hex[4:] + "/../", "AC" + hex[1:] + "/", "AC" + hex[1:] + "`", "AC" + hex[1:] + "@", "AC" + hex[1:] + ":", "AC" + hex[1:] + "\x00"} {
		cases = append(cases,
			refusal{"account " + sid, base.WithAccountSID(sid), "account SID"},
			refusal{"worker " + sid, base.WithWorkerSID(strings.Replace(sid, "AC", "WK", 1)), "worker SID"},
			refusal{"workspace " + sid, base.WithWorkspaceSID(strings.Replace(sid, "AC", "WS", 1)), "workspace SID"},
			refusal{"queue " + sid, credentials(NewTaskQueue(strings.Replace(sid, "AC", "WQ", 1), testWorkspace)), "task queue SID"})
	}
	for _, url := range badURLs {
		cases = append(cases,
			refusal{"Allow " + url, base.Allow("GET", url, nil, nil), "policy 1: URL"},
			refusal{"Deny " + url, base.Allow("GET", tasks, nil, nil).Deny("GET", url, nil, nil), "policy 2: URL"},
			refusal{"TaskRouter URL " + url, base.WithTaskRouterURL(url), "TaskRouter URL"},
			refusal{"event bridge URL " + url, base.WithEventBridgeURL(url), "event bridge URL"})
	}
	for _, url := range wildcardURLs {
		cases = append(cases,
			refusal{"TaskRouter URL " + url, base.WithTaskRouterURL(url), "TaskRouter URL"},
			refusal{"event bridge URL " + url, base.WithEventBridgeURL(url), "event bridge URL"})
	}
	for _, method := range []string{"", "get", "Get", "GET ", " GET", "HEAD", "OPTIONS", "*", "GET,POST", "GETT", tasks} {
		cases = append(cases, refusal{"method " + method, base.Allow(method, tasks, nil, nil), "policy 1: method"})
	}
	for _, name := range append(badNames, "a b", " ") {
		cases = append(cases,
			refusal{"query filter " + name, base.Allow("GET", tasks, Filter{"a": Required, name: Optional}, nil), "policy 1: query filter"},
			refusal{"post filter " + name, base.Deny("GET", tasks, nil, Filter{name: Required}), "policy 1: post filter"})
	}
	for _, name := range badNames {
		cases = append(cases, refusal{"claim " + name, base.WithClaims(map[string]any{name: 1}), "extra claim 1 by name: name"})
	}
	for _, name := range []string{"iss", "exp", "nbf", "aud", "version", "friendly_name", "account_sid", "channel", "workspace_sid", "worker_sid",
		"taskqueue_sid", "policies", "scope", "grants"} {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToUpper(name[:1]) + name[1:], name[:len(name)-1] + strings.ToUpper(name[len(name)-1:])} {
			cases = append(cases, refusal{"claim " + spelling, base.WithClaims(map[string]any{spelling: "x"}), "extra claim 1 by name: name"})
		}
	}
	nest := func(n int) json.RawMessage { return json.RawMessage(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for _, claim := range []map[string]any{
		{"x": func() {}}, {"x": make(chan int)}, {"x": json.RawMessage("{")}, {"x": json.RawMessage(`{"a":1,"a":1}`)}, {"x": json.RawMessage("\"\xff\"")},
		{"x": json.RawMessage(`"\ud800"`)}, {"x": json.RawMessage("")}, {"x": nest(32)}, {"x": failingMarshaler{}}, {"x": map[int]any{1: func() {}}},
		{"sub": 1}, {"sub": nil}, {"sub": []string{"a"}}, {"jti": 1}, {"jti": true}, {"iat": "1464096368"}, {"iat": 1.5}, {"iat": -1}, {"iat": int64(endOfTime)},
		{"iat": json.Number("1e3")}, {"iat": json.Number("1.0")}, {"iat": nil}, {"iat": 1e300}, {"iat": json.Number("18446744073709551617")},
	} {
		cases = append(cases, refusal{fmt.Sprint("claim ", claim), base.WithClaims(claim), "extra claim 1 by name: value"})
	}
	many := manyClaims(1024 - 9) // beside iss exp nbf version friendly_name account_sid channel workspace_sid worker_sid policies
	big := Filter{}
	for i := 0; i < 1025; i++ {
		big[strconv.Itoa(i)] = Required
	}
	cases = append(cases,
		refusal{"too many claims", base.WithClaims(many), "extra claims: want at most 1,024"},
		refusal{"too many parameters", base.Allow("GET", tasks, big, nil), "policy 1: query filter: 1025 names"},
		refusal{"the third of three policies", base.Allow("GET", tasks, nil, nil).Deny("GET", tasks, nil, nil).Allow("GET", "", nil, nil), "policy 3: URL"},
		refusal{"the second of three claims", base.WithClaims(map[string]any{"a": 1, "b\n": 1, "c": 1}), "extra claim 2 by name: name"})

	for _, r := range cases {
		claims, err := r.c.Claims()
		if err == nil || !reflect.DeepEqual(claims, Claims{}) {
			t.Errorf("%s: accepted", r.name)
			continue
		}
		wantKinds(t, err, ErrInvalid)
		if !strings.Contains(err.Error(), r.want) || strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("%s: %v, want %q in it", r.name, err, r.want)
		}
		token, tokenErr := r.c.Token()
		if token != "" || tokenErr == nil || r.c.kind != 0 && tokenErr.Error() != err.Error() {
			t.Errorf("%s: Token = %q, %v", r.name, token, tokenErr)
		}
		token, claims, err = r.c.GenerateAndSign(map[string]any{"good": 1})
		if token != "" || err == nil || !reflect.DeepEqual(claims, Claims{}) {
			t.Errorf("%s: GenerateAndSign = %q, %v, %v", r.name, token, claims, err)
		}
	}
	if len(cases) < 400 {
		t.Errorf("only %d cases", len(cases))
	}
}

func manyClaims(n int) map[string]any {
	m := map[string]any{}
	for i := 0; i < n; i++ {
		m[strconv.Itoa(i)] = 0
	}
	return m
}

// A token has 1,024 claims in all, and how many are its own depends on its kind
// and on whether it has a start.
func TestManyClaims(t *testing.T) {
	queue, space := credentials(NewTaskQueue(testTaskQueue, testWorkspace)), credentials(NewWorkspace(testWorkspace))
	for own, c := range map[int]Capability{10: queue.StartingAt(testStart), 9: queue, 8: space} {
		claims, err := c.WithClaims(manyClaims(1024 - own)).Claims()
		if err != nil || len(claims.Extra) != 1024-own {
			t.Errorf("%d of its own: %v", own, err)
		}
		_, err = c.WithClaims(manyClaims(1024 - own + 1)).Token()
		wantKinds(t, err, ErrInvalid)
		if err == nil {
			t.Errorf("%d of its own: one too many accepted", own)
		}
	}
	if _, err := space.StartingAt(testStart).WithClaims(manyClaims(1024 - 9)).Claims(); err != nil {
		t.Error(err)
	}
}

type failingMarshaler struct{}

func (failingMarshaler) MarshalJSON() ([]byte, error) { return nil, errors.New("fails") }

// badNames are no names of parameters or claims.
var badNames = []string{"", strings.Repeat("x", 129), "\"", "\\", "a\"b", "a\nb", "\x00", "\x1f", "\x7f", "é", "\u0130ss", "\xff", "\ufeffiss"}

var (
	goodURLs = []string{
		"https://a/b", "https://taskrouter.twilio.com/v1/Workspaces", "https://a-b.c0.d/A/z/0/9/-/_/~", "https://a/...", "https://a/.a", "https://a/a..b",
		"https://0.0.0.0/a", "https://a:1/b", "https://a:65535/b", "https://a:80/b", "https://a:442/b", "https://a:444/b", "https://-/b", "https://a/-_.~", "https://localhost:8443/v1",
	}
	wildcardURLs = []string{"https://a/*", "https://a/**", "https://a/*/b", "https://a/*/*/**", "https://a:8443/b/*/**"}
	badURLs      = []string{
		"", "/", "a", "https://", "https:///", "https:///a", "https://a", "https://a/", "https://a/b/", "https://a//b", "https://a/b//", "http://a/b", "HTTPS://a/b", "https:/a/b", "//a/b", "wss://a/b", " https://a/b", "https://a/b ",
		"https://A/b", "https://a.B/c", "https://.a/b", "https://a./b", "https://a..b/c", "https://./b", "https://a_b/c", "https://é/b", "https://xn--\u00e9/b", "https://user@a/b", "https://u:p@a/b", "https://[::1]/b", "https://a b/c", "https://a%2eb/c", "https://*/a", "https://*.a/b", "https://a*/b", "https://**/b",
		"https://a:/b", "https://a:0/b", "https://a:01/b", "https://a:443/b", "https://a:0443/b", "https://a:65536/b", "https://a:99999999999999999999/b", "https://a:-1/b", "https://a:+1/b", "https://a:1a/b", "https://a: 1/b", "https://a:1:2/b", "https://a:80:/b", "https://:80/b", "https://a:1_0/b",
		"https://a/.", "https://a/..", "https://a/b/../c", "https://a/b/./c", "https://a/b/..", "https://a/../**",
		"https://a/%2e%2e/b", "https://a/%2F", "https://a/b%", "https://a/b;c", "https://a/b;", "https://a/b?c", "https://a/b?", "https://a/b#c", "https://a/b#", "https://a/b c", "https://a/b\tc", "https://a/b\nc", "https://a/b\x00", "https://a/b\\c", "https://a/b\"c", "https://a/b+c", "https://a/b,c", "https://a/b:c", "https://a/b@c", "https://a/b&c", "https://a/b=c", "https://a/b$c", "https://a/b!c", "https://a/(b)", "https://a/b'c", "https://a/é", "https://a/\xff", "https://a/b|c", "https://a/{b}", "https://a/[b]", "https://a/<b>", "https://a/b^", "https://a/`",
		"https://a/**/b", "https://a/***", "https://a/*a", "https://a/a*", "https://a/a*b", "https://a/a**", "https://a/**a", "https://a/**/", "https://a/*/", "https://a/**/**", "https://a/****",
	}
)

func TestURLs(t *testing.T) {
	for _, url := range goodURLs {
		if problem := checkURL(url, false); problem != "" {
			t.Errorf("%s: %s", url, problem)
		}
	}
	for _, url := range append(append([]string{}, goodURLs...), wildcardURLs...) {
		c, err := testCapability().WithoutDefaults().Allow("GET", url, nil, nil).Claims()
		if err != nil || c.Policies[0].URL != url {
			t.Errorf("%s: %v, %v", url, c.Policies, err)
		}
	}
	// Every byte in a segment and in a host.
	for b := 0; b < 256; b++ {
		c := string([]byte{byte(b)})
		unreserved := strings.Contains("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~", c)
		if got := checkURL("https://h/a"+c+"b", true) == ""; got != (unreserved || c == "/") {
			t.Errorf("%q in a segment: %v", c, got)
		}
		host := strings.Contains("abcdefghijklmnopqrstuvwxyz0123456789-.", c)
		if got := checkURL("https://a"+c+"b/c", true) == ""; got != (host || c == "/") {
			t.Errorf("%q in a host: %v", c, got)
		}
	}
}

func TestResourceURL(t *testing.T) {
	const ws = "https://taskrouter.twilio.com/v1/Workspaces/" + testWorkspace
	for _, test := range []struct {
		want string
		path []string
	}{
		{ws, nil}, {ws + "/Workers/" + testWorker + "/Channels/**", []string{"Workers", testWorker, "Channels", "**"}},
		{ws + "/*/*", []string{"*", "*"}}, {ws + "/**", []string{"**"}}, {ws + "/Tasks/*/Reservations", []string{"Tasks", "*", "Reservations"}},
		{"", []string{""}}, {"", []string{"a/b"}}, {"", []string{"Tasks/**"}}, {"", []string{"**", "a"}}, {"", []string{".."}}, {"", []string{"."}}, {"", []string{"a", ""}},
		{"", []string{"a*"}}, {"", []string{"***"}}, {"", []string{"%2e"}}, {"", []string{"a?b"}}, {"", []string{"é"}},
	} {
		if got := ResourceURL(testWorkspace, test.path...); got != test.want {
			t.Errorf("ResourceURL(ws, %q) = %q, want %q", test.path, got, test.want)
		}
	}
	for _, sid := range []string{"", "WS", testWorker, testWorkspace + "/", "**", strings.ToLower(testWorkspace)} {
		if got := ResourceURL(sid, "Tasks"); got != "" {
			t.Errorf("ResourceURL(%q) = %q", sid, got)
		}
	}
}

func TestAuthToken(t *testing.T) {
	for token, ok := range map[string]bool{
		testKey: true, testKey + "!": true, strings.Repeat("é", 16): true, strings.Repeat("~", 100): true,
		"": false, testKey[1:]: false, testKey + "\n": false, testKey + "\r\n": false, " " + testKey: false, testKey + "\t": false, testKey[:16] + " " + testKey[16:]: false,
		testKey + "\x00": false, testKey + "\x7f": false, testKey + "\u0085": false, testKey + "\u00a0": false, testKey + "\u2028": false, testKey + "\u3000": false, testKey + "\u009f": false,
		string(make([]byte, 40)): false,
	} {
		c := testCapability().WithAuthToken(token)
		got, err := c.Token()
		if (err == nil) != ok || (got != "") != ok {
			t.Errorf("%q: %v", token, err)
		}
		if ok {
			if _, err := VerifyAndValidate(got, []byte(token), Clock{At: testStart}); err != nil {
				t.Errorf("%q: %v", token, err)
			}
			continue
		}
		wantKinds(t, err, ErrKey)
		if _, _, err := c.GenerateAndSign(nil); !errors.Is(err, ErrKey) {
			t.Errorf("%q: GenerateAndSign: %v", token, err)
		}
		// Claims need none.
		if _, err := c.Claims(); err != nil {
			t.Errorf("%q: Claims: %v", token, err)
		}
	}
}

// isBlank and isControl are the tables of Unicode.
func TestRunes(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if isControl(r) != unicode.IsControl(r) || isBlank(r) != (unicode.IsSpace(r) || unicode.IsControl(r)) {
			t.Errorf("%U", r)
		}
	}
}

// lower changes the letters A to Z and nothing else.
func TestLower(t *testing.T) {
	for b := 0; b < 256; b++ {
		s := string([]byte{byte(b)})
		want := s
		if i := strings.Index("ABCDEFGHIJKLMNOPQRSTUVWXYZ", s); i >= 0 {
			want = "abcdefghijklmnopqrstuvwxyz"[i : i+1]
		}
		if got := lower(s); got != want {
			t.Errorf("lower(%q) = %q, want %q", s, got, want)
		}
	}
}

// A control character is refused wherever it stands in a friendly name.
func TestFriendlyNameControl(t *testing.T) {
	for _, name := range []string{"\nab", "a\nb", "ab\n", "\n", "\u0080ab"} {
		_, err := testCapability().WithFriendlyName(name).Claims()
		if err == nil {
			t.Errorf("%q: accepted", name)
		}
		wantKinds(t, err, ErrInvalid)
	}
}

// The token and the claims of GenerateAndSign are of one instant.
func TestGenerateAndSignOnce(t *testing.T) {
	tok, claims, err := credentials(NewWorker(testWorker, testWorkspace)).GenerateAndSign(map[string]any{"x": 1})
	if err != nil {
		t.Fatal(err)
	}
	if read := Must(VerifyAndValidate(tok, []byte(testKey), Clock{})); !reflect.DeepEqual(read, claims) {
		t.Errorf("the token has %+v, the claims are %+v", read, claims)
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("TWILIO_ACCOUNT_SID", testAccount)
	t.Setenv("TWILIO_AUTH_TOKEN", testKey)
	c := NewWorker(testWorker, testWorkspace).StartingAt(testStart)
	want := Must(testCapability().Token())
	// It is read when the Capability is made, and not later.
	t.Setenv("TWILIO_ACCOUNT_SID", "")
	t.Setenv("TWILIO_AUTH_TOKEN", "")
	if got, err := c.Token(); err != nil || got != want {
		t.Errorf("the environment is not used: %v", err)
	}
	_, err := NewWorker(testWorker, testWorkspace).Token()
	wantKinds(t, err, ErrInvalid, ErrKey)
	for _, name := range []string{"TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN"} {
		if !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
	// A With replaces it even when it is empty.
	t.Setenv("TWILIO_ACCOUNT_SID", testAccount)
	t.Setenv("TWILIO_AUTH_TOKEN", testKey)
	_, err = NewWorker(testWorker, testWorkspace).WithAccountSID("").Token()
	wantKinds(t, err, ErrInvalid)
	_, err = NewTaskQueue(testTaskQueue, testWorkspace).WithAuthToken("").Token()
	wantKinds(t, err, ErrKey)
	if _, err := NewWorkspace(testWorkspace).Token(); err != nil {
		t.Error(err)
	}
}

// One error names everything that is wrong, and is of every kind.
func TestSeveralRefusals(t *testing.T) {
	c := NewTaskQueue("x", "y").WithAccountSID("z").WithAuthToken("w").WithFriendlyName("").WithTTL(0).StartingAt(time.Time{}).
		WithTaskRouterURL("").WithEventBridgeURL("/").AllowActivityUpdates().AllowReservationUpdates().WithWorkerSID("v").
		Allow("", "", nil, nil).Deny("GET", "", nil, nil).WithClaims(map[string]any{"exp": 1, "zz": func() {}})
	_, err := c.Token()
	wantKinds(t, err, ErrInvalid, ErrKey)
	const want = "capability: auth token (TWILIO_AUTH_TOKEN): 1 bytes, want at least 32 and no white space or control characters; " +
		"account SID (TWILIO_ACCOUNT_SID): 1 bytes, want AC and 32 hexadecimal digits; " +
		"workspace SID: 1 bytes, want WS and 32 hexadecimal digits; task queue SID: 1 bytes, want WQ and 32 hexadecimal digits; " +
		"WithWorkerSID: want a capability from NewWorker; AllowActivityUpdates: want a capability from NewWorker; " +
		"AllowReservationUpdates: want a capability from NewWorker; friendly name: want 1 to 256 characters of valid UTF-8, no control characters; " +
		"TaskRouter URL: want https://host/path, no other scheme; event bridge URL: want https://host/path, no other scheme; " +
		"TTL: want at least one second; start: want a time within the years 1970 to 9999; end: want a time within the years 1970 to 9999; " +
		"policy 1: method: want GET, POST, PUT, PATCH or DELETE, and then the URL; policy 2: URL: want https://host/path, no other scheme; " +
		"extra claim 1 by name: name: reserved, in any letter case; " +
		"extra claim 2 by name: value: want what marshals to strict JSON; want a value, or a digit of one, at byte 0"
	if err.Error() != want {
		t.Errorf("%v\nwant\n%s", err, want)
	}
	_, err = c.Claims()
	wantKinds(t, err, ErrInvalid)
	if strings.Contains(err.Error(), "auth token") {
		t.Errorf("Claims asks for the auth token: %v", err)
	}
}

// The time it takes to say what is wrong grows with how much is wrong, and no
// faster: this would take minutes.
func TestManyRefusals(t *testing.T) {
	c := testCapability()
	for i := 0; i < 100000; i++ {
		c = c.Allow("", "", nil, nil)
	}
	_, err := c.Claims()
	wantKinds(t, err, ErrInvalid)
	if n := strings.Count(err.Error(), "; "); n != 100000-1 {
		t.Errorf("%d policies are wrong", n+1)
	}
}

// What a call leaves at its default, and what the last of two calls does.
func TestDefaultsAndRepeats(t *testing.T) {
	before := time.Now().Unix()
	c := Must(credentials(NewWorker(testWorker, testWorkspace)).Claims())
	after := time.Now().Unix()
	if exp := c.ExpiresAt.Unix(); exp < before+3600 || exp > after+3600 || !c.NotBefore.IsZero() || c.FriendlyName != testWorker || len(c.Policies) != 6 {
		t.Errorf("%+v", c)
	}
	// Whole seconds, cut off; start and TTL each on their own.
	c = Must(testCapability().StartingAt(testStart.Add(999 * time.Millisecond)).WithTTL(1999 * time.Millisecond).Claims())
	if !c.NotBefore.Equal(testStart) || !c.ExpiresAt.Equal(testStart.Add(time.Second)) {
		t.Errorf("nbf %v, exp %v", c.NotBefore, c.ExpiresAt)
	}
	for _, n := range []int{1, 255, 256} {
		name := strings.Repeat("\U0001F600", n)
		if c := Must(testCapability().WithFriendlyName(name).Claims()); c.FriendlyName != name {
			t.Errorf("%d characters: %q", n, c.FriendlyName)
		}
	}
	last := Must(testCapability().WithFriendlyName("").WithFriendlyName("b").WithTTL(0).WithTTL(time.Minute).WithWorkerSID("").WithWorkerSID(testWorker).
		StartingAt(time.Time{}).StartingAt(testStart).WithClaims(map[string]any{"x": func() {}, "y": 1}).WithClaims(map[string]any{"x": 2}).Claims())
	if last.FriendlyName != "b" || !last.ExpiresAt.Equal(testStart.Add(time.Minute)) || string(last.Extra["x"]) != "2" || string(last.Extra["y"]) != "1" {
		t.Errorf("%+v", last)
	}
	// A workspace is its own channel.
	other := "WSfedcba9876543210fedcba9876543210"
	w := Must(credentials(NewWorkspace(testWorkspace)).WithWorkspaceSID(other).Claims())
	if w.Channel != other || w.WorkspaceSID != other || w.FriendlyName != other || !strings.HasSuffix(w.Policies[0].URL, other) {
		t.Errorf("%+v", w)
	}
}

// The order of the calls does not show, but for Allow and Deny.
func TestOrderOfCalls(t *testing.T) {
	calls := []func(Capability) Capability{
		Capability.AllowActivityUpdates, Capability.AllowReservationUpdates, Capability.AllowFetchSubresources, Capability.AllowUpdates,
		Capability.AllowUpdatesSubresources, Capability.AllowDelete, Capability.AllowDeleteSubresources, Capability.WithoutDefaults,
		func(c Capability) Capability { return c.WithWorkerSID("WKfedcba9876543210fedcba9876543210") },
		func(c Capability) Capability { return c.WithWorkspaceSID("WSfedcba9876543210fedcba9876543210") },
		func(c Capability) Capability { return c.WithFriendlyName("alice") },
		func(c Capability) Capability { return c.WithTaskRouterURL("https://a/b") },
		func(c Capability) Capability { return c.WithEventBridgeURL("https://c/d") },
		func(c Capability) Capability { return c.WithTTL(time.Minute) },
		func(c Capability) Capability { return c.WithClaims(map[string]any{"a": 1}) },
		func(c Capability) Capability { return c.WithClaims(map[string]any{"b": 1}) },
		func(c Capability) Capability { return c.Allow("GET", "https://a/b", nil, nil) },
		credentials,
	}
	var want string
	for i := range calls {
		for _, step := range []int{1, 5, 7} { // each prime to 18
			c := NewWorker(testWorker, testWorkspace).StartingAt(testStart)
			for j := range calls {
				c = calls[(i+j*step)%len(calls)](c)
			}
			got, err := c.Token()
			if err != nil {
				t.Fatal(err)
			}
			if want == "" {
				want = got
			}
			if got != want {
				t.Fatalf("order %d, %d makes another token", i, step)
			}
			for _, again := range calls[:16] { // all but Allow
				c = again(c)
			}
			if got, err := c.Token(); err != nil || got != want {
				t.Fatalf("order %d, %d makes another token after a repeat: %v", i, step, err)
			}
		}
	}
	claims := Must(VerifyAndValidate(want, []byte(testKey), Clock{At: testStart}))
	got := []string{}
	for _, p := range claims.Policies {
		got = append(got, p.Method+" "+p.URL[strings.LastIndex(p.URL, "/"):])
	}
	if want := "[GET /** POST /WKfedcba9876543210fedcba9876543210 POST /** DELETE /WKfedcba9876543210fedcba9876543210 DELETE /** " +
		"POST /WKfedcba9876543210fedcba9876543210 POST /** POST /** GET /b]"; fmt.Sprint(got) != want {
		t.Errorf("policies %v, want %v", got, want)
	}
}

// inv 7: copies share nothing that shows, with the caller, with each other, or
// with the Claims handed out.
func TestImmutable(t *testing.T) {
	query, post := Filter{"a": Required}, Filter{"b": Optional}
	inner := []int{1}
	extra := map[string]any{"x": inner}
	base := testCapability().Allow("GET", "https://a/b", query, post).WithClaims(extra)
	want := Must(base.Token())
	same := func(what string) {
		t.Helper()
		if got := Must(base.Token()); got != want {
			t.Errorf("changed by %s", what)
		}
	}
	query["a"], query["c"], post["b"] = Optional, Required, Required
	delete(post, "b")
	inner[0], extra["x"], extra["y"] = 2, 3, 4
	same("the caller's maps")

	left, right := base.Allow("PUT", "https://a/left", nil, nil), base.Deny("PUT", "https://a/right", nil, nil)
	left2 := left.Allow("PUT", "https://a/left2", nil, nil)
	if l, r := Must(left.Claims()), Must(right.Claims()); l.Policies[7].URL != "https://a/left" || r.Policies[7].URL != "https://a/right" ||
		len(Must(left2.Claims()).Policies) != 9 || len(l.Policies) != 8 {
		t.Error("branches share policies")
	}
	base.WithClaims(map[string]any{"x": 9, "z": 1})
	base.AllowDelete()
	base.WithoutDefaults()
	base.WithWorkerSID("WKfedcba9876543210fedcba9876543210")
	base.WithTTL(time.Minute)
	base.StartingAt(time.Unix(1, 0))
	base.WithFriendlyName("x")
	same("methods whose result was dropped")

	c := Must(base.Claims())
	c.Policies[6].QueryFilter["a"] = Optional
	c.Policies[6].PostFilter["z"] = Required
	c.Policies[0].URL = "x"
	c.Policies = append(c.Policies, Policy{})
	c.Extra["x"][0] = 'x'
	c.Extra["n"] = nil
	same("changes to its Claims")
	_, generated, err := base.GenerateAndSign(nil)
	if err != nil {
		t.Fatal(err)
	}
	generated.Policies[6].QueryFilter["a"] = Optional
	generated.Extra["x"][0] = 'x'
	same("changes to generated Claims")

	payload := Must(VerifySignature(want, []byte(testKey)))
	if cap(payload) != len(payload) {
		t.Error("the payload has spare capacity")
	}
	for i := range payload {
		payload[i] = 'x'
	}
	same("changes to a payload")
	key := []byte(testKey)
	if _, err := VerifyAndValidate(want, key, Clock{At: testStart}); err != nil || string(key) != testKey {
		t.Error(err)
	}
}

func TestConcurrent(t *testing.T) {
	base := testCapability().Allow("GET", "https://a/b", Filter{"a": Required}, nil).WithClaims(map[string]any{"x": 1})
	want := Must(base.AllowDelete().Token())
	var wg sync.WaitGroup
	for i := 0; i < 100; i++ {
		wg.Add(1)
		go func(i int) {
			defer wg.Done()
			for j := 0; j < 10; j++ {
				if got, err := base.AllowDelete().Token(); err != nil || got != want {
					t.Error("another token")
				}
				own := base.Allow("PUT", "https://a/"+strconv.Itoa(i), nil, Filter{"b": Required}).WithClaims(map[string]any{"y": i})
				tok, claims, err := own.GenerateAndSign(map[string]any{"z": j})
				if err != nil {
					t.Error(err)
					return
				}
				claims.Policies[6].QueryFilter["a"] = Optional
				got, err := VerifyAndValidate(tok, []byte(testKey), Clock{At: testStart})
				if err != nil || got.Policies[7].URL != "https://a/"+strconv.Itoa(i) || string(got.Extra["z"]) != strconv.Itoa(j) {
					t.Errorf("%v, %v", got, err)
				}
			}
		}(i)
	}
	wg.Wait()
}

// inv 9: what is minted is read back as it is, whatever goes into it.
func TestRoundTrip(t *testing.T) {
	big := Filter{}
	for i := 0; i < 1024; i++ {
		big[strconv.Itoa(i)] = Requirement(i%2 == 0)
	}
	for name, c := range map[string]Capability{
		"many parameters": testCapability().Allow("PATCH", "https://a/**", big, Filter{strings.Repeat("~", 128): Optional, "!": Required}),
		"many claims":     testCapability().WithClaims(manyClaims(1024 - 10)),
		"names":           testCapability().WithClaims(map[string]any{strings.Repeat("~", 128): 1, " ": 2, "a b": 3, "Sub": 4}),
		"values":          testCapability().WithClaims(map[string]any{"a": json.RawMessage(strings.Repeat("[", 31) + strings.Repeat("]", 31)), "b": "\xff\u2028<>&", "c": 1e300, "d": map[string]any{"iss": 1}}),
		"registered":      testCapability().WithClaims(map[string]any{"sub": "", "jti": "\n", "iat": int64(endOfTime - 1)}),
		"iat 0":           testCapability().WithClaims(map[string]any{"iat": 0}),
		"deny":            testCapability().Deny("DELETE", "https://a/*", Filter{}, nil),
		"queue":           credentials(NewTaskQueue(testTaskQueue, testWorkspace)).StartingAt(testStart),
	} {
		t.Run(name, func(t *testing.T) {
			tok, claims, err := c.GenerateAndSign(nil)
			if err != nil {
				t.Fatal(err)
			}
			read, err := VerifyAndValidate(tok, []byte(testKey), Clock{At: testStart})
			if err != nil || !reflect.DeepEqual(read, claims) {
				t.Errorf("read %+v, %v\nwant %+v", read, err, claims)
			}
			payload := Must(VerifySignature(tok, []byte(testKey)))
			if b, err := read.MarshalJSON(); err != nil || string(b) != string(payload) {
				t.Errorf("MarshalJSON = %s, %v\nwant %s", b, err, payload)
			}
			if !slowStrict(payload) {
				t.Errorf("not strict JSON: %s", payload)
			}
		})
	}
}

func TestMust(t *testing.T) {
	if Must(7, nil) != 7 {
		t.Error("not 7")
	}
	defer func() {
		if r := recover(); r != ErrKey {
			t.Errorf("panic(%v), want ErrKey", r)
		}
	}()
	Must("", ErrKey)
}

// ----------------------------------------------------------------------------
// Secrets.

const secret = "5ecre75ecre75ecre75ecre75ecre7ff"

// holder has a Capability in every place that a printer could look into.
type holder struct {
	Exported   Capability
	unexported Capability
	Pointer    *Capability
	pointer    *Capability
	Map        map[string]Capability
	pointers   map[string]*Capability
	Slice      []Capability
	Any        any
	any        any
}

func hold(c Capability) holder {
	return holder{c, c, &c, &c, map[string]Capability{"c": c}, map[string]*Capability{"c": &c}, []Capability{c}, c, &c}
}

// No printer and no encoder shows what a Capability holds, not even with the two
// environment variables swapped.
func TestSecretsAreNotPrinted(t *testing.T) {
	t.Setenv("TWILIO_ACCOUNT_SID", secret)
	t.Setenv("TWILIO_AUTH_TOKEN", testAccount)
	swapped := NewWorker(testWorker, testWorkspace)
	good := testCapability().WithAuthToken(secret).Allow("GET", ResourceURL(testWorkspace), nil, nil)
	misplaced := good.WithAccountSID(secret).WithWorkerSID(secret).WithFriendlyName(secret).WithTaskRouterURL(secret).Allow(secret, secret, Filter{secret: true}, nil)
	for name, c := range map[string]Capability{"good": good, "swapped": swapped, "misplaced": misplaced} {
		if c.get().authToken != secret && c.get().accountSID != secret {
			t.Fatal("the secret is not in it")
		}
		show := func(how, text string) {
			for _, form := range []string{secret, fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret), fmt.Sprint([]byte(secret)), base64.StdEncoding.EncodeToString([]byte(secret))[:40]} {
				if strings.Contains(text, form) || strings.Contains(text, strings.Trim(form, "[]")) {
					t.Errorf("%s: %s shows the secret: %s", name, how, text)
				}
			}
		}
		values := []any{c, &c, hold(c), []any{c, &c}, map[string]any{"c": c}, struct{ c any }{&c}, errors.New(fmt.Sprint(c))}
		h := hold(c)
		values = append(values, &h)
		for _, v := range values {
			for _, verb := range "vTtbcdoOqxXUeEfFgGsp" {
				for _, flags := range []string{"", "+", "#", "+#", " ", "0", "-", "100", ".100"} {
					show("%"+flags+string(verb), fmt.Sprintf("%"+flags+string(verb), v))
				}
			}
			show("Sprint", fmt.Sprint(v)+fmt.Sprintln(v))
			if b, err := json.Marshal(v); err == nil {
				show("json", string(b))
			} else {
				show("json's error", err.Error())
			}
			var b bytes.Buffer
			if err := gob.NewEncoder(&b).Encode(v); err != nil {
				show("gob's error", err.Error())
			}
			show("gob", b.String())
			b.Reset()
			for _, handler := range []slog.Handler{slog.NewTextHandler(&b, nil), slog.NewJSONHandler(&b, nil)} {
				slog.New(handler).Info("x", "c", v, slog.Any("d", v), slog.Group("g", "e", v))
			}
			show("slog", b.String())
			show("a panic", panicText(v))
		}
	}
}

// panicText is what a program that panics with v would print of it.
func panicText(v any) (text string) {
	defer func() { text = fmt.Sprintf("%v %+v %#v", recover(), v, &v) }()
	panic(v)
}

// No error text quotes an argument: each in turn is the auth token by mistake.
func TestSecretsAreNotInErrors(t *testing.T) {
	check := func(where string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", where)
			return
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, verb := range []string{"%v", "%+v", "%#v", "%q", "%x", "%s"} {
				text := fmt.Sprintf(verb, e)
				if strings.Contains(text, secret) || strings.Contains(text, secret[:16]) || strings.Contains(text, fmt.Sprintf("%x", secret)) {
					t.Errorf("%s: %s shows the secret: %s", where, verb, text)
				}
			}
		}
	}
	c := testCapability().WithAuthToken(secret)
	for where, c := range map[string]Capability{
		"NewWorker worker":    credentials(NewWorker(secret, testWorkspace)),
		"NewWorker workspace": credentials(NewWorker(testWorker, secret)),
		"NewTaskQueue":        credentials(NewTaskQueue(secret, secret)),
		"NewWorkspace":        credentials(NewWorkspace(secret)),
		"WithAccountSID":      c.WithAccountSID(secret),
		"WithWorkerSID":       c.WithWorkerSID(secret),
		"WithWorkspaceSID":    c.WithWorkspaceSID(secret),
		"WithFriendlyName":    c.WithFriendlyName(secret + "\n"),
		"WithTaskRouterURL":   c.WithTaskRouterURL(secret),
		"WithEventBridgeURL":  c.WithEventBridgeURL("https://" + secret),
		"WithClaims name":     c.WithClaims(map[string]any{secret + "\n": 1}),
		"WithClaims value":    c.WithClaims(map[string]any{"iat": secret}),
		"WithClaims both":     c.WithClaims(map[string]any{secret: json.RawMessage(secret), "x": map[string]any{secret: func() {}}}),
		"Allow method":        c.Allow(secret, ResourceURL(testWorkspace), nil, nil),
		"Allow URL":           c.Allow("GET", secret, nil, nil),
		"Allow URL's host":    c.Allow("GET", "https://"+secret+"/"+secret+"?", nil, nil),
		"Allow filter":        c.Allow("GET", ResourceURL(testWorkspace), Filter{secret + " ": true}, nil),
		"Deny filter":         c.Deny("GET", ResourceURL(testWorkspace), nil, Filter{secret + " ": true}),
		"WithAuthToken":       c.WithAuthToken(secret + "\n"),
	} {
		_, err := c.Token()
		check(where, err)
	}
	t.Setenv("TWILIO_ACCOUNT_SID", secret)
	t.Setenv("TWILIO_AUTH_TOKEN", testAccount)
	_, err := NewWorker(testWorker, testWorkspace).Token()
	check("swapped environment", err)
	wantKinds(t, err, ErrInvalid)

	_, err = Sign([]byte(secret), []byte(secret))
	check("Sign payload", err)
	_, err = Sign([]byte(`{"`+secret+`":1,"`+secret+`":1}`), []byte(secret))
	check("Sign name", err)
	_, err = Sign([]byte("{}"), []byte(secret[:31]))
	check("Sign key", err)
	for _, tok := range []string{secret, secret + "." + secret + "." + secret, strings.Repeat(secret, MaxTokenSize)} {
		_, err = VerifySignature(tok, []byte(secret))
		check("VerifySignature", err)
		_, err = VerifyAndValidate(tok, []byte(secret[1:]), Clock{})
		check("VerifyAndValidate", err)
	}
	_, err = c.WithAuthToken(secret).WithTTL(1).Token()
	check("Token", err)
	claims := Must(testCapability().Claims())
	_, err = claims.Allows(secret, ResourceURL(testWorkspace))
	check("Allows method", err)
	_, err = claims.Allows("GET", secret)
	check("Allows URL", err)
	_, err = claims.Allows("GET", ResourceURL(testWorkspace), secret+" ")
	check("Allows parameter", err)
	check("UnmarshalJSON", new(Claims).UnmarshalJSON([]byte(`{"`+secret+`":"`+secret)))

	// A verified token is another thing: its claims may be quoted, but escaped
	// and cut.
	_, err = verifyPayload(payloadWith("version", `"\u001b[31m`+strings.Repeat("\\u202e", 100)+`"`), Clock{})
	if err == nil || len(err.Error()) > 150 || strings.ContainsAny(err.Error(), "\x1b\u202e") {
		t.Errorf("%q", err)
	}
}

// ----------------------------------------------------------------------------
// The package itself.

// sources returns the parsed files of the package, tests left out.
func sources(t *testing.T) (*token.FileSet, map[string]*ast.File) {
	t.Helper()
	fset := token.NewFileSet()
	files := map[string]*ast.File{}
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if name := e.Name(); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			files[name] = f
		}
	}
	if len(files) != 3 {
		t.Fatalf("%d files, want jwt.go, capability.go and policies.go", len(files))
	}
	return fset, files
}

// DO NOT ADD TO THIS LIST TO MAKE THE TEST PASS. It is what an auditor has to
// trust beside the package: no fmt, net/url, reflect, log or unsafe.
var allowedImports = " crypto/hmac crypto/sha256 encoding/base64 encoding/json errors os sort strconv strings time unicode/utf8 "

func TestImports(t *testing.T) {
	_, files := sources(t)
	seen := map[string]bool{}
	for name, f := range files {
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			seen[path] = true
			if !strings.Contains(allowedImports, " "+path+" ") || spec.Name != nil {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
	}
	for _, path := range strings.Fields(allowedImports) {
		if !seen[path] {
			t.Errorf("%s is not imported: take it off the list", path)
		}
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil || string(mod) != "module taskrouter/capability\n\ngo 1.21\n" {
		t.Errorf("go.mod is %q, %v", mod, err)
	}
}

// ----------------------------------------------------------------------------
// What the grants come to, and what they allow.

// policySet returns policies as a set of strings.
func policySet(policies []Policy) map[string]bool {
	set := map[string]bool{}
	for _, p := range policies {
		set[string(appendPolicy(nil, p))] = true
	}
	return set
}

// For the same grants, the same policies as Twilio's libraries for Python and
// PHP, as sets; and what ExTwilio has instead.
func TestFamilies(t *testing.T) {
	compared := map[string]int{}
	for _, f := range loadForeign(t) {
		claims := Must(VerifyAndValidate(f.Token, []byte(f.Inputs.AuthToken), Clock{At: time.Unix(f.Inputs.Now, 0)}))
		ws := f.Inputs.WorkspaceSID
		c := map[string]Capability{
			"WK": NewWorker(f.Inputs.ChannelSID, ws), "WQ": NewTaskQueue(f.Inputs.ChannelSID, ws), "WS": NewWorkspace(ws),
		}[f.Inputs.ChannelSID[:2]].WithAccountSID(f.Inputs.AccountSID)
		switch f.Case {
		case "b":
			c = c.AllowActivityUpdates()
		case "c":
			c = c.AllowReservationUpdates()
		case "d", "e":
			c = c.AllowActivityUpdates().AllowReservationUpdates()
		}
		switch f.Case {
		case "e":
			c = c.Allow("POST", ResourceURL(ws, "Tasks"), Filter{"FriendlyName": Optional}, Filter{"Attributes": Required})
		case "f2", "g2":
			c = c.AllowFetchSubresources().AllowUpdates().AllowUpdatesSubresources().AllowDelete().AllowDeleteSubresources()
		case "h":
			c = c.Deny("POST", ResourceURL(ws, "Tasks", "**"), nil, nil)
		}
		ours, theirs := policySet(Must(c.Claims()).Policies), policySet(claims.Policies)
		switch f.Library {
		case "ex_twilio":
			// It grants GET of the whole workspace instead of the worker's
			// reservations; and for the updates of reservations POST of the worker
			// itself, without a filter, instead of the reservations.
			worker := ResourceURL(ws, "Workers", f.Inputs.ChannelSID)
			for _, p := range []Policy{{"GET", ResourceURL(ws), nil, nil, true}, {"GET", worker + "/Reservations/**", nil, nil, true}} {
				toggle(ours, p)
			}
			if strings.Contains("cde", f.Case) {
				toggle(ours, Policy{"POST", worker, nil, nil, true})
				toggle(ours, Policy{"POST", worker + "/Reservations/**", nil, nil, true})
			}
		case "twilio-node":
			if f.Case == "h" { // its Policy turns allow: false into true
				toggle(ours, Policy{"POST", ResourceURL(ws, "Tasks", "**"), nil, nil, false})
				toggle(ours, Policy{"POST", ResourceURL(ws, "Tasks", "**"), nil, nil, true})
			}
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Errorf("%s %s: ours %v\ntheirs %v", f.Library, f.Case, ours, theirs)
		}
		compared[f.Library]++
	}
	for _, library := range []string{"twilio-python", "twilio-php", "ex_twilio"} {
		if compared[library] < 5 {
			t.Errorf("%d tokens of %s", compared[library], library)
		}
	}
}

// toggle removes a policy from a set, or adds it.
func toggle(set map[string]bool, p Policy) {
	key := string(appendPolicy(nil, p))
	if set[key] {
		delete(set, key)
	} else {
		set[key] = true
	}
}

// What TaskRouter.js really asks for.
func TestTaskRouterJS(t *testing.T) {
	var requests struct {
		Worker []struct {
			Op, Method, URL string
			Params          []string
			Allowed         map[string]bool
		}
	}
	loadJSON(t, "taskrouter-js-worker-requests.json", &requests)
	worker := testCapability()
	tokens := map[string]Claims{
		"worker":          Must(worker.Claims()),
		"worker+activity": Must(worker.AllowActivityUpdates().Claims()),
		"worker+both":     Must(worker.AllowActivityUpdates().AllowReservationUpdates().Claims()),
	}
	n := 0
	for _, r := range requests.Worker {
		for name, want := range r.Allowed {
			claims, known := tokens[name]
			if !known {
				t.Fatalf("unknown grants %q", name)
			}
			if got, err := claims.Allows(r.Method, r.URL, r.Params...); got != want || err != nil {
				t.Errorf("%s: %s %s %v with %s: %v, %v, want %v", r.Op, r.Method, r.URL, r.Params, name, got, err, want)
			}
			n++
		}
	}
	if n < 42 {
		t.Errorf("only %d requests", n)
	}
}

func TestAllows(t *testing.T) {
	get := func(url string) Policy { return Policy{"GET", url, nil, nil, true} }
	deny := func(url string) Policy { return Policy{"GET", url, nil, nil, false} }
	for _, test := range []struct {
		policies []Policy
		url      string
		want     bool
	}{
		{nil, "https://h/a", false},
		{[]Policy{get("https://h/a")}, "https://h/a", true},
		{[]Policy{get("https://h/a")}, "https://h/a/", true},
		{[]Policy{get("https://h/a/")}, "https://h/a", true}, // foreign
		{[]Policy{get("https://h/a/b")}, "https://h/a", false},
		{[]Policy{get("https://h/a")}, "https://h/a/b", false},
		// Not a prefix of a segment, not another case, host, port or scheme.
		{[]Policy{get("https://h/Tasks")}, "https://h/TasksX", false},
		{[]Policy{get("https://h/Tasks/**")}, "https://h/TasksX", false},
		{[]Policy{get("https://h/Tasks/**")}, "https://h/TasksX/a", false},
		{[]Policy{get("https://h/Tasks")}, "https://h/tasks", false},
		{[]Policy{get("https://h/a/**")}, "https://i/a/b", false},
		{[]Policy{get("https://h/a/**")}, "https://h:8443/a/b", false},
		{[]Policy{get("https://h.x/a/**")}, "https://h/a/b", false},
		{[]Policy{get("http://h/**")}, "https://h/a", false},
		{[]Policy{get("https://h*/b")}, "https://h/a", false},
		{[]Policy{get("*")}, "https://h/a", false},
		{[]Policy{get("")}, "https://h/a", false},
		{[]Policy{get("https://h")}, "https://h/a", false},
		{[]Policy{get("https://h/")}, "https://h/a", false},
		{[]Policy{get("https://h//a")}, "https://h/a", false},
		{[]Policy{get("HTTPS://h/a")}, "https://h/a", false},
		// Wildcards: * is one segment, ** zero or more.
		{[]Policy{get("https://h/a/*")}, "https://h/a", false},
		{[]Policy{get("https://h/a/*")}, "https://h/a/", false},
		{[]Policy{get("https://h/a/*")}, "https://h/a/b", true},
		{[]Policy{get("https://h/a/*")}, "https://h/a/b/c", false},
		{[]Policy{get("https://h/*/b")}, "https://h/a/b", true},
		{[]Policy{get("https://h/*/b")}, "https://h/a/c", false},
		{[]Policy{get("https://h/a/**")}, "https://h/a", true},
		{[]Policy{get("https://h/a/**")}, "https://h/a/", true},
		{[]Policy{get("https://h/a/**")}, "https://h/a/b", true},
		{[]Policy{get("https://h/a/**")}, "https://h/a/b/c/d", true},
		{[]Policy{get("https://h/a/**")}, "https://h/b", false},
		{[]Policy{get("https://h/*/**")}, "https://h/a", true},
		{[]Policy{get("https://h/**")}, "https://h/a/b", true},
		// Odd wildcards of other libraries, in grants.
		{[]Policy{get("https://h/a*/c")}, "https://h/x/c", true},
		{[]Policy{get("https://h/*a/c")}, "https://h/x/d", false},
		{[]Policy{get("https://h/a*")}, "https://h/x/c", false},
		{[]Policy{get("https://h/**/c")}, "https://h/x", true},
		{[]Policy{get("https://h/a/b**")}, "https://h/a/x/y", true},
		{[]Policy{get("https://h/a/***")}, "https://h/a", true},
		{[]Policy{get("https://h/a/**/")}, "https://h/a/b", true},
		{[]Policy{get("https://*/**")}, "https://h/a", true},
		{[]Policy{get("https://*.x/a")}, "https://h.x/a", true},
		{[]Policy{get("https://**")}, "https://h/a", true},
		{[]Policy{get("**")}, "https://h/a", true},
		{[]Policy{get("https://h/**"), deny("https://*/a")}, "https://h/a", true},
		{[]Policy{get("https://h/**"), deny("https://**")}, "https://h/a", true},
		{[]Policy{get("https://h/**"), deny("**")}, "https://h/a", true},
		// A denial wins, wherever it stands; its ** is one or more.
		{[]Policy{get("https://h/**"), deny("https://h/a")}, "https://h/a", false},
		{[]Policy{deny("https://h/a"), get("https://h/**")}, "https://h/a/", false},
		{[]Policy{deny("https://h/a"), get("https://h/**")}, "https://h/b", true},
		{[]Policy{get("https://h/**"), deny("https://h/a/**")}, "https://h/a", true},
		{[]Policy{get("https://h/**"), deny("https://h/a/**")}, "https://h/a/b", false},
		{[]Policy{get("https://h/**"), deny("https://h/a/**")}, "https://h/a/b/c", false},
		{[]Policy{get("https://h/**"), deny("https://h/*")}, "https://h/a", false},
		{[]Policy{get("https://h/**"), deny("https://h/*/b")}, "https://h/a/b", false},
		{[]Policy{get("https://h/**"), deny("https://h/*")}, "https://h/a/b", true},
		{[]Policy{get("https://h/**"), deny("https://h/a*")}, "https://h/ab", true},
		{[]Policy{get("https://h/**"), deny("https://h/**/b")}, "https://h/a/b", true},
		{[]Policy{get("https://h/**"), deny("https://h/a**")}, "https://h/ab", true},
		{[]Policy{get("https://h/**"), deny("https://h/a/")}, "https://h/a", true},
		{[]Policy{get("https://h/**"), deny("https://h/**")}, "https://h/a", false},
		{[]Policy{get("https://h/a"), deny("https://h/a/b")}, "https://h/a", true},
		{[]Policy{deny("https://h/a")}, "https://h/b", false},
	} {
		got, err := Claims{Policies: test.policies}.Allows("GET", test.url)
		if got != test.want || err != nil {
			t.Errorf("%v for %s: %v, %v, want %v", test.policies, test.url, got, err, test.want)
		}
	}
	// The method is compared as it is.
	for _, method := range []string{"POST", "get", "", "*", "GET "} {
		if got, err := (Claims{Policies: []Policy{{method, "https://h/a", nil, nil, true}}}).Allows("GET", "https://h/a"); got || err != nil {
			t.Errorf("%q: %v, %v", method, got, err)
		}
	}
	// It ignores the time, and needs no other claim.
	if got, err := (Claims{Policies: []Policy{{"PUT", "https://h/a", nil, nil, true}}}).Allows("PUT", "https://h/a"); !got || err != nil {
		t.Errorf("%v, %v", got, err)
	}
}

func TestAllowsParameters(t *testing.T) {
	filter := Filter{"a": Required, "b": Optional, "c": Required}
	for _, method := range []string{"GET", "DELETE", "POST", "PUT", "PATCH"} {
		right := Policy{method, "https://h/a", filter, nil, true}
		wrong := Policy{method, "https://h/a", nil, filter, true}
		if method != "GET" && method != "DELETE" {
			right, wrong = wrong, right
		}
		for params, want := range map[string]bool{"": false, "a": false, "b": false, "a b": false, "a c": true, "c a": true, "a c x": true, "a a c b": true, "A C": false} {
			got, err := Claims{Policies: []Policy{right}}.Allows(method, "https://h/a", strings.Fields(params)...)
			if got != want || err != nil {
				t.Errorf("%s with %q: %v, %v, want %v", method, params, got, err, want)
			}
			if got, err := (Claims{Policies: []Policy{wrong}}).Allows(method, "https://h/a", strings.Fields(params)...); !got || err != nil {
				t.Errorf("%s with %q, the other filter: %v, %v", method, params, got, err)
			}
			// A denial applies if its filter is met.
			right.Allow = false
			got, err = Claims{Policies: []Policy{right, {method, "https://h/a", nil, nil, true}}}.Allows(method, "https://h/a", strings.Fields(params)...)
			if got == want || err != nil {
				t.Errorf("%s with %q, denied: %v, %v, want %v", method, params, got, err, !want)
			}
			right.Allow = true
		}
	}
}

func TestAllowsRefuses(t *testing.T) {
	claims := Must(testCapability().WithoutDefaults().Allow("GET", "https://h/**", nil, nil).Allow("POST", "https://h/**", nil, nil).Claims())
	refuse := func(method, url string, params ...string) {
		t.Helper()
		got, err := claims.Allows(method, url, params...)
		if got || err == nil {
			t.Errorf("%q %q %q: %v, %v", method, url, params, got, err)
		}
		wantKinds(t, err, ErrInvalid)
	}
	refuse("https://h/a", "GET")
	refuse("", "")
	for _, method := range []string{"", "get", "HEAD", "GET ", "*"} {
		refuse(method, "https://h/a")
	}
	n := 0
	for _, url := range append(append([]string{}, badURLs...), wildcardURLs...) {
		if checkURL(strings.TrimSuffix(url, "/"), false) == "" {
			continue // one slash at the end is no slip
		}
		refuse("GET", url)
		n++
	}
	if n < 100 {
		t.Errorf("only %d URLs", n)
	}
	for _, url := range []string{"https://h/a//", "https://h/", "/v1/Workspaces", "https://h/a?b=c", "https://h/a/?b", "https://h/*/", "https://h/a/**"} {
		refuse("GET", url)
	}
	for _, name := range append(badNames, "a b") {
		refuse("POST", "https://h/a", "x", name)
	}
}

// The package documentation shows the payload and the token of its example with
// line breaks. These are the bytes that the code makes.
func TestDocExample(t *testing.T) {
	skipMutated(t)
	_, files := sources(t)
	doc := strings.ReplaceAll(files["capability.go"].Doc.Text(), "\n\t", "\n")
	joined := strings.ReplaceAll(doc[strings.Index(doc, "# Example"):], "\n", "")
	c := testCapability().WithoutDefaults().WithFriendlyName("alice").Allow("GET", ResourceURL(testWorkspace, "Activities"), nil, nil)
	token := Must(c.Token())
	if payload := Must(VerifySignature(token, []byte(testKey))); !strings.Contains(joined, string(payload)) {
		t.Errorf("the documentation does not show %s", payload)
	}
	if !strings.HasSuffix(joined, ":"+token) {
		t.Errorf("the documentation does not end with %s", token)
	}
}

// skipMutated skips a test that looks at the source text: it would fail for any
// change at all, and hide that no other test does. .ci/mutants sets the variable.
func skipMutated(t *testing.T) {
	if os.Getenv("CAPABILITY_MUTATION") != "" {
		t.Skip("the sources are mutated")
	}
}

// golden compares got with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile("testdata/"+name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; if that is meant, run go test -update and read the difference\ngot\n%s", name, got)
	}
}

// The exported names and signatures are a promise to those who vendor the
// package.
func TestAPI(t *testing.T) {
	skipMutated(t)
	var b strings.Builder
	for _, name := range []string{"jwt.go", "capability.go", "policies.go"} {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.FileExports(f)
		fmt.Fprintf(&b, "// %s\n", name)
		for _, decl := range f.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.IMPORT {
				continue
			}
			if fn, ok := decl.(*ast.FuncDecl); ok {
				fn.Body = nil
				if !isExported(fn) {
					continue
				}
			}
			if err := printer.Fprint(&b, fset, decl); err != nil {
				t.Fatal(err)
			}
			b.WriteString("\n")
		}
	}
	golden(t, "api.txt", b.String())
}

// isExported reports whether a function, or a method and its type, is exported.
func isExported(fn *ast.FuncDecl) bool {
	if fn.Recv != nil {
		t := fn.Recv.List[0].Type
		if star, ok := t.(*ast.StarExpr); ok {
			t = star.X
		}
		if id, ok := t.(*ast.Ident); ok && !id.IsExported() {
			return false
		}
	}
	return fn.Name.IsExported()
}

// eachExported calls do for every exported identifier, with its documentation.
func eachExported(f *ast.File, do func(name string, doc ...*ast.CommentGroup)) {
	for _, decl := range f.Decls {
		switch decl := decl.(type) {
		case *ast.FuncDecl:
			if isExported(decl) {
				do(decl.Name.Name, decl.Doc)
			}
		case *ast.GenDecl:
			for _, spec := range decl.Specs {
				switch spec := spec.(type) {
				case *ast.TypeSpec:
					if !spec.Name.IsExported() {
						continue
					}
					do(spec.Name.Name, decl.Doc, spec.Doc)
					if s, ok := spec.Type.(*ast.StructType); ok {
						for _, field := range s.Fields.List {
							for _, name := range field.Names {
								if name.IsExported() {
									do(spec.Name.Name+"."+name.Name, field.Doc, field.Comment)
								}
							}
						}
					}
				case *ast.ValueSpec:
					for _, name := range spec.Names {
						if name.IsExported() {
							do(name.Name, spec.Doc, spec.Comment)
						}
					}
				}
			}
		}
	}
}

// What a reader may rely on without reading on: everything exported is
// documented; there is no init and no variable that another package could set,
// but for the errors; no function is longer than 60 lines.
func TestConventions(t *testing.T) {
	fset, files := sources(t)
	n := 0
	for name, f := range files {
		eachExported(f, func(id string, docs ...*ast.CommentGroup) {
			n++
			for _, doc := range docs {
				if doc != nil {
					return
				}
			}
			t.Errorf("%s: %s has no documentation", name, id)
		})
		for _, decl := range f.Decls {
			switch decl := decl.(type) {
			case *ast.FuncDecl:
				if decl.Name.Name == "init" {
					t.Errorf("%s has an init", name)
				}
				if lines := fset.Position(decl.End()).Line - fset.Position(decl.Pos()).Line + 1; lines > 60 {
					t.Errorf("%s: %s has %d lines", name, decl.Name.Name, lines)
				}
			case *ast.GenDecl:
				for _, spec := range decl.Specs {
					if v, ok := spec.(*ast.ValueSpec); ok && decl.Tok == token.VAR {
						for _, id := range v.Names {
							if id.IsExported() && !strings.HasPrefix(id.Name, "Err") {
								t.Errorf("%s exports the variable %s", name, id.Name)
							}
						}
					}
				}
			}
		}
	}
	if n < 60 {
		t.Errorf("only %d exported identifiers", n)
	}
}

// A MAC is compared by hmac.Equal and by nothing else: a comparison that stops at
// the first difference tells how far a forgery is right. No test of behaviour
// can see that.
func TestNoPlainComparison(t *testing.T) {
	_, files := sources(t)
	calls := 0
	isMAC := func(e ast.Expr) (found bool) {
		ast.Inspect(e, func(n ast.Node) bool {
			if id, ok := n.(*ast.Ident); ok && (id.Name == "signature" || id.Name == "mac" || id.Name == "sum") {
				found = true
			}
			return true
		})
		return found
	}
	for name, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if (n.Op == token.EQL || n.Op == token.NEQ) && (isMAC(n.X) || isMAC(n.Y)) {
					t.Errorf("%s compares a MAC with %s", name, n.Op)
				}
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == "Equal" {
					if pkg, ok := sel.X.(*ast.Ident); !ok || pkg.Name != "hmac" {
						t.Errorf("%s calls an Equal that is not hmac's", name)
					} else if len(n.Args) == 2 && isMAC(n.Args[0]) && isMAC(n.Args[1]) {
						calls++
					}
				}
			}
			return true
		})
	}
	if calls != 1 {
		t.Errorf("%d calls of hmac.Equal, want 1", calls)
	}
}

// declared returns the names of the functions and methods of a file.
func declared(t *testing.T, name string) map[string]bool {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, decl := range f.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok {
			names[fn.Name.Name] = true
		}
	}
	return names
}

// Every row of SECURITY.md's tables that names a function or a test names one
// that exists.
func TestSecurityTable(t *testing.T) {
	data, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	functions := map[string]map[string]bool{}
	for _, name := range []string{"jwt.go", "capability.go", "policies.go"} {
		functions[name] = declared(t, name)
	}
	tests := map[string]bool{}
	for _, name := range []string{"capability_test.go", "fuzz_test.go", "example_test.go"} {
		for id := range declared(t, name) {
			tests[id] = true
		}
	}
	code := regexp.MustCompile("`(jwt|capability|policies)\\.go: ([A-Za-z.]+)`")
	test := regexp.MustCompile("`((?:Test|Fuzz|Example)[A-Za-z0-9_]*)`")
	rows := 0
	for _, line := range strings.Split(string(data), "\n") {
		if !strings.HasPrefix(line, "| ") {
			continue
		}
		found := code.FindAllStringSubmatch(line, -1)
		for _, m := range found {
			name := m[2][strings.LastIndex(m[2], ".")+1:]
			if !functions[m[1]+".go"][name] {
				t.Errorf("%s.go has no function %s: %s", m[1], name, line)
			}
		}
		named := test.FindAllStringSubmatch(line, -1)
		for _, m := range named {
			if !tests[m[1]] {
				t.Errorf("there is no %s: %s", m[1], line)
			}
		}
		if len(found) > 0 {
			rows++
			if len(named) == 0 {
				t.Errorf("code without a test: %s", line)
			}
		}
	}
	if rows < 85 {
		t.Errorf("only %d rows name code", rows)
	}
}

// The reading order of SECURITY.md covers the three files, and each function is
// where it says.
func TestReadingOrder(t *testing.T) {
	skipMutated(t)
	data, err := os.ReadFile("SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	fset, files := sources(t)
	row := regexp.MustCompile(`(?m)^\| \d+ \| (\w+\.go) (\d+)-(\d+) \| (.*) \|$`)
	read := map[string]int{} // lines so far
	for _, m := range row.FindAllStringSubmatch(string(data), -1) {
		first, _ := strconv.Atoi(m[2])
		last, _ := strconv.Atoi(m[3])
		for _, name := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(m[4], -1) {
			found := false
			for _, decl := range files[m[1]].Decls {
				line := fset.Position(decl.Pos()).Line
				if fn, ok := decl.(*ast.FuncDecl); ok && fn.Name.Name == name[1] && first <= line && line <= last {
					found = true
				}
			}
			if !found {
				t.Errorf("%s is not in lines %d to %d of %s", name[1], first, last, m[1])
			}
		}
		read[m[1]] += last - first + 1
	}
	for name, f := range files {
		if lines := fset.File(f.Pos()).LineCount(); read[name] != lines {
			t.Errorf("the reading order has %d lines of %s, which has %d", read[name], name, lines)
		}
	}
}

// The sums of the three files in README.md, for those who copy them.
func TestVendoringCard(t *testing.T) {
	skipMutated(t)
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	card := "| file | lines | SHA-256 |\n|---|---|---|\n"
	for _, name := range []string{"jwt.go", "capability.go", "policies.go"} {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		card += fmt.Sprintf("| `%s` | %d | `%x` |\n", name, bytes.Count(source, []byte("\n")), sha256.Sum256(source))
	}
	old := regexp.MustCompile(`\| file \| lines \| SHA-256 \|\n(\|.*\n)*`)
	if *update {
		data = old.ReplaceAll(data, []byte(card))
		if err := os.WriteFile("README.md", data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := string(old.Find(data)); got != card {
		t.Errorf("README.md has\n%swant\n%sgo test -update writes it", got, card)
	}
}

// Allocations above the floor of bench_test.go. They do not depend on how fast
// the machine is.
func TestAllocations(t *testing.T) {
	t.Setenv("TWILIO_ACCOUNT_SID", testAccount)
	t.Setenv("TWILIO_AUTH_TOKEN", testKey)
	key := []byte(testKey)
	tok := Must(benchCapability(0).Token())
	payload := Must(VerifySignature(tok, key))
	forged := tok[:len(tok)-2] + "AA"
	// Compilers before Go 1.22 copy a string to make it bytes even to read it.
	slack := 0.0
	if v := runtime.Version(); strings.HasPrefix(v, "go1.21") {
		slack = 3
	}
	sign := testing.AllocsPerRun(100, func() { floorSign(payload, key) })
	verify := testing.AllocsPerRun(100, func() { floorVerify(tok, key) })
	for _, test := range []struct {
		name        string
		floor, most float64
		run         func() error
	}{
		{"Token", sign, 4, func() error { _, err := benchCapability(0).Token(); return err }},
		{"VerifyAndValidate", verify, 8, func() error { _, err := VerifyAndValidate(tok, key, Clock{}); return err }},
		{"VerifySignature", verify, 6, func() error { _, err := VerifySignature(tok, key); return err }},
	} {
		got := testing.AllocsPerRun(100, func() {
			if err := test.run(); err != nil {
				t.Fatal(err)
			}
		})
		if got > test.floor+test.most+slack {
			t.Errorf("%s: %v allocations, want at most %v above the floor's %v", test.name, got, test.most, test.floor)
		}
	}
	got := testing.AllocsPerRun(100, func() {
		if _, err := VerifyAndValidate(forged, key, Clock{}); err != ErrSignature {
			t.Fatal(err)
		}
	})
	if got > verify+2+slack {
		t.Errorf("refusing a forged token: %v allocations, want at most 2 above the floor's %v", got, verify)
	}
}
