package capability

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// Run the targets with -fuzzminimizetime=1x: without it a target can stall in
// minimizing and still print PASS. .ci/run does, and counts the executions.

// fuzzTokens returns the tokens of testdata: seeds that are not all alike.
func fuzzTokens(f *testing.F) map[string][]byte {
	f.Helper()
	tokens := map[string][]byte{}
	for _, c := range loadForeign(f) {
		tokens[c.Token] = []byte(c.Inputs.AuthToken)
	}
	var golden []goldenCase
	loadJSON(f, "golden-worker.json", &golden)
	for _, g := range golden {
		tokens[g.Token] = []byte(g.AuthToken)
	}
	var hostile []hostileCase
	loadJSON(f, "hostile.json", &hostile)
	for _, h := range hostile {
		if len(h.Token) < 4096 {
			tokens[h.Token] = h.Key
		}
	}
	if len(tokens) < 200 {
		f.Fatalf("only %d seeds", len(tokens))
	}
	return tokens
}

// fuzzPayloads returns what the payload parts of those tokens decode to.
func fuzzPayloads(f *testing.F) (payloads [][]byte) {
	f.Helper()
	for tok := range fuzzTokens(f) {
		if parts := strings.Split(tok, "."); len(parts) == 3 {
			if payload, err := encoding.DecodeString(parts[1]); err == nil {
				payloads = append(payloads, payload)
			}
		}
	}
	if len(payloads) < 150 {
		f.Fatalf("only %d seeds", len(payloads))
	}
	return payloads
}

// Whatever the reader accepts signs, verifies, and comes back byte for byte; an
// accepted token is the encoding of its own parts; claims that are read marshal
// to claims that read the same.
func FuzzRoundTrip(f *testing.F) {
	for _, payload := range fuzzPayloads(f) {
		f.Add(payload, []byte(testKey))
	}
	f.Fuzz(func(t *testing.T, payload, key []byte) {
		tok, err := Sign(payload, key)
		if err != nil {
			if tok != "" {
				t.Fatal("a token beside an error")
			}
			if len(payload) < 1000 && slowStrict(payload) && bytes.HasPrefix(bytes.TrimSpace(payload), []byte("{")) && len(key) >= 32 && len(bytes.Trim(key, "\x00")) > 0 {
				t.Fatalf("Sign(%q): %v", payload, err)
			}
			return
		}
		if !slowStrict(payload) {
			t.Fatalf("signed %q", payload)
		}
		if want := signRaw(plainHeader, string(payload), key); tok != want {
			t.Fatalf("signed %s, want %s", tok, want)
		}
		got, err := VerifySignature(tok, key)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("VerifySignature = %q, %v, want %q", got, err, payload)
		}
		var claims, back Claims
		if claims.UnmarshalJSON(payload) != nil {
			return
		}
		b, err := claims.MarshalJSON()
		if err != nil {
			if claims.ExpiresAt.Nanosecond() == 0 && claims.NotBefore.Nanosecond() == 0 {
				t.Fatalf("MarshalJSON of %q: %v", payload, err)
			}
			return
		}
		if err := back.UnmarshalJSON(b); err != nil || !reflect.DeepEqual(back, claims) {
			t.Fatalf("%q reads %+v, %v, want %+v", b, back, err, claims)
		}
	})
}

// Any token, any key, any clock: no panic, nothing beside an error, every error
// of a kind, and what is accepted is what the slow verifier accepts.
func FuzzVerify(f *testing.F) {
	for tok, key := range fuzzTokens(f) {
		f.Add(tok, key, testStart.Unix(), int64(0))
	}
	f.Fuzz(func(t *testing.T, tok string, key []byte, at, leeway int64) {
		payload, err := VerifySignature(tok, key)
		if (payload == nil) != (err != nil) {
			t.Fatalf("VerifySignature = %q, %v", payload, err)
		}
		if slow := slowVerify(tok, key); slow != (err == nil) {
			t.Fatalf("VerifySignature: %v, but the slow verifier says %v", err, slow)
		}
		checkKinds(t, err)
		claims, err := VerifyAndValidate(tok, key, Clock{At: time.Unix(at, 0), Leeway: time.Duration(leeway)})
		if err != nil && !reflect.DeepEqual(claims, Claims{}) {
			t.Fatalf("claims beside %v", err)
		}
		checkKinds(t, err)
		if err == nil && (payload == nil || claims.Policies == nil || claims.Channel == "") {
			t.Fatalf("accepted %+v", claims)
		}
		// The same with the MAC made right, so that the fuzzer gets behind it.
		if parts := strings.Split(tok, "."); len(parts) == 3 && len(key) >= 32 {
			tok = signText(parts[0]+"."+parts[1], key)
			if got, slow := verifies(tok, key), slowVerify(tok, key); got != slow {
				t.Fatalf("%s: %v, but the slow verifier says %v", tok, got, slow)
			}
			claims, err := VerifyAndValidate(tok, key, Clock{At: time.Unix(at, 0), Leeway: time.Duration(leeway)})
			checkKinds(t, err)
			if err == nil && (claims.Policies == nil || claims.Issuer != claims.AccountSID) {
				t.Fatalf("accepted %+v", claims)
			}
		}
	})
}

func verifies(tok string, key []byte) bool {
	_, err := VerifySignature(tok, key)
	return err == nil
}

func checkKinds(t *testing.T, err error) {
	n := 0
	for _, kind := range allKinds {
		if err != nil && isKind(err, kind) {
			n++
		}
	}
	if err != nil && n != 1 {
		t.Fatalf("%v is of %d kinds", err, n)
	}
}

// isKind reports whether err is of this one kind.
func isKind(err, kind error) bool {
	f, ok := err.(*failure)
	return err == kind || ok && len(f.kinds) == 1 && f.kinds[0] == kind
}

// slowVerify is VerifySignature as one would write it without regard to order,
// speed and memory.
func slowVerify(tok string, key []byte) bool {
	if len(key) < 32 || len(bytes.Trim(key, "\x00")) == 0 || len(tok) > 65536 {
		return false
	}
	parts := strings.Split(tok, ".")
	if len(parts) != 3 || parts[0] == "" || parts[1] == "" || len(parts[2]) != 43 {
		return false
	}
	var plain [3][]byte
	for i, part := range parts {
		if strings.Trim(part, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
		plain[i] = slowDecode(part)
		if slowEncode(plain[i]) != part {
			return false
		}
	}
	if tok != signText(parts[0]+"."+parts[1], key) {
		return false
	}
	var header, payload map[string]json.RawMessage
	if !slowStrict(plain[0]) || !slowStrict(plain[1]) || json.Unmarshal(plain[0], &header) != nil || json.Unmarshal(plain[1], &payload) != nil ||
		header == nil || payload == nil {
		return false
	}
	var alg, typ any
	if header["alg"] == nil || json.Unmarshal(header["alg"], &alg) != nil || alg != "HS256" {
		return false
	}
	if header["typ"] != nil {
		err := json.Unmarshal(header["typ"], &typ)
		if s, ok := typ.(string); err != nil || !ok || len(s) != 3 || strings.ToLower(s) != "jwt" {
			return false
		}
	}
	for _, name := range []string{"crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c"} {
		if _, found := header[name]; found {
			return false
		}
	}
	return true
}

const slowAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// slowDecode collects six bits a letter and drops what is left over.
func slowDecode(s string) (b []byte) {
	bits, n := 0, 0
	for i := 0; i < len(s); i++ {
		bits, n = bits<<6|strings.IndexByte(slowAlphabet, s[i]), n+6
		if n >= 8 {
			b, n = append(b, byte(bits>>(n-8))), n-8
			bits &= 1<<n - 1
		}
	}
	return b
}

func slowEncode(b []byte) string {
	var s []byte
	bits, n := 0, 0
	for _, c := range b {
		bits, n = bits<<8|int(c), n+8
		for n >= 6 {
			s, n = append(s, slowAlphabet[bits>>(n-6)&63]), n-6
			bits &= 1<<n - 1
		}
	}
	if n > 0 {
		s = append(s, slowAlphabet[bits<<(6-n)&63])
	}
	return string(s)
}

// The two-sided oracle: the reader accepts exactly what encoding/json accepts and
// a slow check finds no fault in, and reads the same values.
func FuzzStrictJSON(f *testing.F) {
	for _, payload := range fuzzPayloads(f) {
		f.Add(payload)
	}
	for _, text := range []string{`"\ud83d\ude00\u0000"`, `[1,-0.5e+10,true,false,null]`, `{"a":{"a":[[{}]]},"b":"\""}`, "\ufeff1", `{"a":1,"\u0061":1}`, `"\ud800"`, "\"\xff\""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want := slowStrict(data)
		if got := readsJSON(string(data)); got != want {
			t.Fatalf("the reader says %v, encoding/json and the slow check %v: %q", got, want, data)
		}
		if !want {
			return
		}
		r := newReader(string(data))
		got := pull(&r)
		if problem := r.end(); problem != "" {
			t.Fatal(problem)
		}
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		var value any
		if err := d.Decode(&value); err != nil || !reflect.DeepEqual(got, value) {
			t.Fatalf("%q reads %#v, want %#v (%v)", data, got, value, err)
		}
	})
}

// pull builds with the reader the tree that encoding/json would.
func pull(r *reader) any {
	switch r.peek() {
	case '{':
		m := map[string]any{}
		for o := r.object(); o.next(); {
			m[o.name] = pull(r)
		}
		return m
	case '[':
		list := []any{}
		for a := r.array(); a.next(); {
			list = append(list, pull(r))
		}
		return list
	case '"':
		return r.string()
	case 't', 'f':
		return r.bool()
	case 'n':
		r.null()
		return nil
	}
	return json.Number(r.number())
}

// Whatever method, URL and filter are accepted come back as they are, through
// the token and through encoding/json; and what is accepted is of the grammar,
// written down a second time.
func FuzzPolicy(f *testing.F) {
	n := 0
	for _, urls := range [][]string{goodURLs, wildcardURLs, badURLs} {
		for _, url := range urls {
			f.Add("GET", url, "ActivitySid", true)
			n++
		}
	}
	for _, c := range loadForeign(f) {
		for _, p := range foreignPoliciesOf(c) {
			f.Add(p[0], p[1], "Attributes", false)
			n++
		}
	}
	if n < 300 {
		f.Fatalf("only %d seeds", n)
	}
	f.Fuzz(func(t *testing.T, method, url, name string, required bool) {
		filter := Filter{name: Requirement(required)}
		c, err := testCapability().WithoutDefaults().Allow(method, url, filter, nil).Deny(method, url, nil, filter).Claims()
		want := slowMethod(method) && slowURL(url) && slowName(name)
		if (err == nil) != want {
			t.Fatalf("%q %q %q: %v, want %v", method, url, name, err, want)
		}
		if err != nil {
			return
		}
		policies := []Policy{{method, url, filter, nil, true}, {method, url, nil, filter, false}}
		if !reflect.DeepEqual(c.Policies, policies) {
			t.Fatalf("%+v, want %+v", c.Policies, policies)
		}
		b, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		var back Claims
		if err := json.Unmarshal(b, &back); err != nil || !reflect.DeepEqual(back, c) {
			t.Fatalf("%s reads %+v, %v", b, back, err)
		}
		var plain struct {
			Policies []struct {
				URL, Method string
				QueryFilter map[string]map[string]bool `json:"query_filter"`
			}
		}
		if err := json.Unmarshal(b, &plain); err != nil || plain.Policies[0].URL != url || plain.Policies[0].Method != method ||
			plain.Policies[0].QueryFilter[name]["required"] != required {
			t.Fatalf("encoding/json reads %+v, %v", plain, err)
		}
	})
}

func foreignPoliciesOf(c foreignCase) (policies [][2]string) {
	for _, v := range c.Claims["policies"].([]any) {
		p := v.(map[string]any)
		policies = append(policies, [2]string{p["method"].(string), p["url"].(string)})
	}
	return policies
}

func slowMethod(s string) bool {
	return s == "GET" || s == "POST" || s == "PUT" || s == "PATCH" || s == "DELETE"
}

func slowName(s string) bool {
	for _, c := range []byte(s) {
		if c <= 0x20 || c >= 0x7F || c == '"' || c == '\\' {
			return false
		}
	}
	return len(s) > 0 && len(s) < 129
}

// slowURL is the grammar of a policy's URL as a chain of cuts.
func slowURL(s string) bool {
	if len(s) < 8 || s[:8] != "https://" {
		return false
	}
	parts := strings.Split(s[8:], "/")
	host, port := parts[0], ""
	if i := strings.Index(host, ":"); i >= 0 {
		host, port = host[:i], host[i+1:]
		n, err := strconv.Atoi(port)
		if err != nil || n < 1 || n > 65535 || n == 443 || strconv.Itoa(n) != port {
			return false
		}
	}
	if host == "" || host[0] == '.' || host[len(host)-1] == '.' || strings.Contains(host, "..") {
		return false
	}
	for _, c := range []byte(host) {
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.') {
			return false
		}
	}
	for i, segment := range parts[1:] {
		if segment == "*" || segment == "**" && i == len(parts)-2 {
			continue
		}
		if segment == "" || segment == "." || segment == ".." {
			return false
		}
		for _, c := range []byte(segment) {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~') {
				return false
			}
		}
	}
	return len(parts) > 1
}

// ----------------------------------------------------------------------------
// The oracle of strict JSON.

// slowStrict says what the strict reader should, slowly and obviously: it asks
// encoding/json for the grammar and looks for the other faults one by one.
func slowStrict(data []byte) bool {
	if !json.Valid(data) || !utf8.Valid(data) || hasLoneSurrogate(data) {
		return false
	}
	return slowValue(json.NewDecoder(bytes.NewReader(data)), 0)
}

// slowValue goes through a value that is known to be JSON. It reports whether no
// object has a name twice or too many of them, and the depth is not too great.
func slowValue(d *json.Decoder, depth int) bool {
	d.UseNumber()
	tok, err := d.Token()
	if err != nil {
		panic(err)
	}
	delim, isDelim := tok.(json.Delim)
	if !isDelim {
		return true
	}
	ok := depth < 32
	names := map[string]bool{}
	for d.More() {
		if delim == '{' {
			name, err := d.Token()
			if err != nil {
				panic(err)
			}
			ok = ok && !names[name.(string)]
			names[name.(string)] = true
		}
		ok = slowValue(d, depth+1) && ok
	}
	if _, err := d.Token(); err != nil {
		panic(err)
	}
	return ok && len(names) <= 1024
}

// hasLoneSurrogate looks through the escapes of valid JSON.
func hasLoneSurrogate(data []byte) bool {
	for i := 0; i < len(data); i++ {
		if data[i] != '\\' {
			continue
		}
		i++
		if data[i] != 'u' {
			continue
		}
		u := slowHex(data[i+1:])
		i += 4
		if u < 0xD800 || u > 0xDFFF {
			continue
		}
		if u >= 0xDC00 || i+6 >= len(data) || data[i+1] != '\\' || data[i+2] != 'u' {
			return true
		}
		if low := slowHex(data[i+3:]); low < 0xDC00 || low > 0xDFFF {
			return true
		}
		i += 6
	}
	return false
}

func slowHex(data []byte) int64 {
	u, err := strconv.ParseInt(string(data[:4]), 16, 32)
	if err != nil {
		panic(err)
	}
	return u
}

// ----------------------------------------------------------------------------
// The oracle of Allows.

// Allows says what a slow and obvious matcher says.
func FuzzAllows(f *testing.F) {
	n := 0
	urls := []string{"https://a/b", "https://a/b/c", "https://a/b/c/", "https://a/b/c/d/e", "https://b/b/c"}
	patterns := []string{"https://a/b/**", "https://a/*/c", "https://a/**", "https://a/b*/c", "https://a/**/c", "https://a/b/c/", "https://*/b/c", "**", "https://a/b/***", "https://a//c", "https://a/b/*"}
	for _, url := range urls {
		for _, pattern := range patterns {
			f.Add("GET", url, "x", "GET", pattern, true, "x", true)
			f.Add("POST", url, "y", "POST", pattern, false, "x", true)
			n += 2
		}
	}
	if n < 100 {
		f.Fatalf("only %d seeds", n)
	}
	f.Fuzz(func(t *testing.T, method, url, param, policyMethod, pattern string, allow bool, name string, required bool) {
		p := Policy{policyMethod, pattern, Filter{name: Requirement(required)}, nil, allow}
		if method != "GET" && method != "DELETE" {
			p.QueryFilter, p.PostFilter = nil, p.QueryFilter
		}
		everything := Policy{method, url, nil, nil, true} // grants the very request, so that a denial shows
		got, err := Claims{Policies: []Policy{p}}.Allows(method, url, param)
		both, _ := Claims{Policies: []Policy{everything, p, everything}}.Allows(method, url, param)

		plain := strings.TrimSuffix(url, "/")
		if want := slowMethod(method) && slowURL(plain) && !strings.Contains(url, "*") && slowName(param); want != (err == nil) {
			t.Fatalf("%q %q %q: %v", method, url, param, err)
		}
		if err != nil {
			if got || both || !isKind(err, ErrInvalid) {
				t.Fatalf("%v, %v beside %v", got, both, err)
			}
			return
		}
		applies := policyMethod == method && (!required || name == param) && slowMatch(p, plain)
		if got != (applies && allow) || both != (allow || !applies) {
			t.Fatalf("%+v for %q: %v and %v, but the slow matcher says %v", p, url, got, both, applies)
		}
	})
}

// slowMatch goes through the segments, of which the first three are the scheme
// and the host.
func slowMatch(p Policy, url string) bool {
	pattern := p.URL
	if !p.Allow {
		host := "https://" + strings.Split(url, "/")[2] + "/"
		return strings.HasPrefix(pattern, host) && slowSegments(strings.Split(pattern[len(host):], "/"), strings.Split(url[len(host):], "/"), false)
	}
	return slowSegments(strings.Split(strings.TrimSuffix(pattern, "/"), "/"), strings.Split(url, "/"), true)
}

func slowSegments(want, have []string, allow bool) bool {
	if len(want) == 0 {
		return len(have) == 0
	}
	if allow && strings.Contains(want[0], "**") {
		return true
	}
	if len(have) == 0 {
		return false
	}
	if !allow && want[0] == "**" && len(want) == 1 {
		return true
	}
	if want[0] == "*" || allow && strings.Contains(want[0], "*") || want[0] == have[0] {
		return slowSegments(want[1:], have[1:], allow)
	}
	return false
}
