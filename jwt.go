package capability

// This file holds the JWS: compact serialization (RFC 7515 section 7.1) with
// HS256 (RFC 7518 section 3.2) and nothing else, and the strict JSON reader.
//
// Invariants (SECURITY.md has the test for each):
//
//  1. No byte of a token reaches the JSON reader before its MAC has been
//     verified.
//  2. No function returns anything beside an error.
//  3. No input makes a function panic.
//  4. No error text holds a key or a token.
//  5. HS256 is a constant: the header is compared with it, never used to choose
//     what to run.
//  6. A token has one spelling: a token that is accepted is the encoding of its
//     own parts, to the bit.

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// MaxTokenSize is the largest token, in bytes, that Sign makes and that
	// VerifySignature and VerifyAndValidate read. It bounds the work that a
	// stranger can ask for. Real tokens have 1 to 4 KB.
	MaxTokenSize = 64 << 10

	// MinKeySize is the shortest key, in bytes, that HS256 may use (RFC 7518
	// section 3.2: "a key of the same size as the hash output or larger"). A
	// Twilio auth token has exactly 32 bytes.
	MinKeySize = 32
)

const (
	// header is the base64url encoding of {"alg":"HS256","typ":"JWT"}, the only
	// header that this package writes.
	header = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"

	// signatureLen is the length of 32 bytes in base64url without padding.
	signatureLen = 43
)

// encoding is base64url without padding (RFC 7515 section 2). Strict refuses
// trailing bits that are not zero (RFC 4648 section 3.5): without it the last
// letter of each part could be changed and the token still be accepted.
var encoding = base64.RawURLEncoding.Strict()

// Sign returns the JWS compact serialization of payload, signed with key by
// HS256. The payload must be one JSON object, read as strictly as a verifier
// reads it: see "Strict JSON" in the package documentation.
//
// The error is ErrKey for a key of fewer than MinKeySize bytes or of zero bytes
// only, and ErrInvalid for a payload that is not such an object or that would
// make a token of more than MaxTokenSize bytes.
//
// Sign is for claims that are not a capability; for those use
// Capability.Token. Whoever may choose the payload can make any token of the
// account.
func Sign(payload, key []byte) (string, error) {
	if err := checkKey(key); err != nil {
		return "", err
	}
	if err := checkSize(payload); err != nil {
		return "", err
	}
	r := newReader(string(payload))
	r.skipObject()
	if problem := r.end(); problem != "" {
		return "", fail(ErrInvalid, "payload: "+problem)
	}
	return sign(payload, key), nil
}

// VerifySignature returns the payload of a token that was signed with key by
// HS256, byte for byte as it was signed.
//
// It says who made the token. It does not say that the token is still valid,
// nor that it is a TaskRouter capability: the same key may sign other things.
// To let somebody in, use VerifyAndValidate.
//
// The error is ErrKey, ErrMalformed, ErrSignature or ErrClaims, in this order:
//
//  1. The key has at least MinKeySize bytes, not all zero (ErrKey). The token
//     has at most MaxTokenSize bytes; it is three parts with a dot between
//     them, none empty; every byte of a part is of the base64url alphabet; a
//     part is what its own decoding encodes to; the third part has 43
//     characters (ErrMalformed).
//  2. The third part is the HMAC-SHA256 of all that is before the second dot,
//     compared in constant time (ErrSignature). Nothing has been read as JSON
//     so far.
//  3. The first part is a strict JSON object in which alg is "HS256" and typ,
//     if there, is "JWT" in any letter case, and which has no member crit, b64,
//     zip, enc, cty, jwk, jku, x5u or x5c. Other members are ignored
//     (ErrClaims).
//  4. The second part is a strict JSON object (ErrClaims).
//
// These are the steps of RFC 7515 section 5.2 and RFC 7519 section 7.2 with the
// checks that RFC 8725 section 3 adds.
func VerifySignature(token string, key []byte) ([]byte, error) {
	return verify(token, key, nil)
}

// verify does the steps that VerifySignature lists. In step 4 it reads the
// payload into claims, unless that is nil.
func verify(token string, key []byte, claims *Claims) ([]byte, error) {
	// Step 1. An empty key is how verification gets switched off by accident.
	if err := checkKey(key); err != nil {
		return nil, err
	}
	// The size comes first: what follows takes time in proportion to it.
	if len(token) > MaxTokenSize {
		return nil, ErrMalformed
	}
	dot1, dot2 := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	if strings.Count(token, ".") != 2 || dot1 == 0 || dot2 == dot1+1 || len(token)-dot2-1 != signatureLen {
		return nil, ErrMalformed
	}
	// Go's decoder skips CR and LF, even the strict one: with them a token could
	// be spelled in any number of ways. It refuses every other byte outside the
	// alphabet, a length of 1 modulo 4, and trailing bits that are not zero.
	if strings.IndexByte(token, '\r') >= 0 || strings.IndexByte(token, '\n') >= 0 {
		return nil, ErrMalformed
	}
	decoded := make([]byte, encoding.DecodedLen(dot2))
	n, err1 := encoding.Decode(decoded, []byte(token[:dot1]))
	m, err2 := encoding.Decode(decoded[n:], []byte(token[dot1+1:dot2]))
	var signature [sha256.Size]byte
	_, err3 := encoding.Decode(signature[:], []byte(token[dot2+1:]))
	if err1 != nil || err2 != nil || err3 != nil {
		return nil, ErrMalformed
	}

	// Step 2. hmac.Equal takes the same time wherever the two differ, so that
	// nobody can find a signature byte by byte.
	signed := []byte(token[:dot2])
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	if !hmac.Equal(mac.Sum(signed[:0]), signature[:]) {
		return nil, ErrSignature
	}

	// Step 3. From here on the bytes are known to come from who has the key.
	text := string(decoded[:n+m])
	r := newReader(text[:n])
	r.header()
	if problem := r.end(); problem != "" {
		return nil, fail(ErrClaims, "header: "+problem)
	}

	// Step 4. One pass: to check the payload, or to check and read it.
	r.start(text[n:])
	if claims == nil {
		r.skipObject()
	} else {
		claims.read(&r)
	}
	if problem := r.end(); problem != "" {
		return nil, fail(ErrClaims, "payload: "+problem)
	}
	return decoded[n : n+m : n+m], nil
}

// checkKey refuses keys that HMAC would take without a word. HMAC pads a key
// with zeros, so a key of zeros is the empty key.
func checkKey(key []byte) error {
	var or byte
	for _, b := range key {
		or |= b
	}
	if len(key) < MinKeySize || or == 0 {
		return ErrKey
	}
	return nil
}

// checkSize refuses a payload whose token would exceed MaxTokenSize. The first
// comparison keeps the second from overflowing an int of 32 bits.
func checkSize(payload []byte) error {
	if len(payload) > MaxTokenSize || tokenSize(len(payload)) > MaxTokenSize {
		return fail(ErrInvalid, "payload: want no more than fits a token of 65,536 bytes")
	}
	return nil
}

// tokenSize returns the size of the token of a payload of n bytes.
func tokenSize(n int) int {
	return len(header) + 1 + encoding.EncodedLen(n) + 1 + signatureLen
}

// sign makes the token. The key and the payload have been checked.
func sign(payload, key []byte) string {
	size := tokenSize(len(payload))
	b := make([]byte, size, size+sha256.Size)
	signed := b[:size-1-signatureLen]
	encoding.Encode(signed[copy(b, header+"."):], payload)
	mac := hmac.New(sha256.New, key)
	mac.Write(signed)
	b[len(signed)] = '.'
	encoding.Encode(b[len(signed)+1:], mac.Sum(b[size:]))
	return string(b)
}

// ----------------------------------------------------------------------------
// The strict JSON reader.
//
// It reads one JSON text (RFC 8259) once, from left to right, without building
// a tree: the caller pulls the values it knows and skips the others. Beyond the
// grammar it demands valid UTF-8, no lone surrogate escapes, no duplicate
// member names at any level, and the two limits below.
//
// A fault is kept in the reader. From then on every loop ends and every value
// is the zero value, so that callers ask once, at the end. The text is indexed
// in peek and, with the same check of the bound, in string. The reader's oracle
// in the tests is encoding/json.

const (
	maxDepth   = 32   // objects and arrays open at once: skip is recursive
	maxMembers = 1024 // members of one object
)

// A reader reads one JSON text. Between two calls pos is at the start of a
// value, or behind one.
type reader struct {
	text  string
	pos   int
	depth int
	names []string // the member names of the open objects, for the duplicates
	fault string   // the first fault; "" if there is none
	where int      // its position in bytes
}

// newReader returns a reader of the text.
func newReader(text string) reader {
	r := reader{names: make([]string, 0, 24)}
	r.start(text)
	return r
}

// start moves to the value of another text, when nothing was wrong with the one
// before.
func (r *reader) start(text string) {
	r.text, r.pos = text, 0
	// Checked once for the whole text: a byte that is not UTF-8 is an error
	// everywhere, and two different names must not both become U+FFFD.
	if !utf8.ValidString(text) {
		r.fail("not valid UTF-8")
	}
	r.space()
}

// end says what is wrong with the text; "" if it was one value, white space and
// nothing else. It is called once, behind the value.
func (r *reader) end() string {
	r.space()
	if r.pos != len(r.text) {
		r.fail("want nothing behind the value")
	}
	if r.fault == "" {
		return ""
	}
	return r.fault + ", at byte " + strconv.Itoa(r.where)
}

// fail records the first fault and moves to the end of the text. It is not
// inlined for the sake of small programs: its callers are many.
//
//go:noinline
func (r *reader) fail(fault string) {
	if r.fault == "" {
		r.fault, r.where = fault, r.pos
	}
	r.pos = len(r.text)
}

// peek returns the byte at pos, or 0 at the end of the text. A real zero byte
// is an error wherever it stands, so the two need not be told apart.
func (r *reader) peek() byte {
	if r.pos < len(r.text) {
		return r.text[r.pos]
	}
	return 0
}

// take moves past the byte c if it is next.
func (r *reader) take(c byte) bool {
	if r.peek() != c {
		return false
	}
	r.pos++
	return true
}

// space moves past white space: these four bytes only (RFC 8259 section 2).
func (r *reader) space() {
	for c := r.peek(); c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = r.peek() {
		r.pos++
	}
}

// elements are what an open object or array still holds.
type elements struct {
	r     *reader
	close byte   // '}' or ']'
	n     int    // how many were read
	names int    // where the names of this object begin in r.names
	name  string // of the member that was read, unescaped
}

// object opens an object: for o := r.object(); o.next(); { read the value of o.name }.
func (r *reader) object() elements { return r.open('{', '}') }

// array opens an array: for a := r.array(); a.next(); { read the element }.
func (r *reader) array() elements { return r.open('[', ']') }

func (r *reader) open(open, close byte) elements {
	if !r.take(open) {
		r.fail("want " + string(rune(open)))
	}
	if r.depth++; r.depth > maxDepth {
		r.fail("more than 32 objects and arrays within each other")
	}
	return elements{r: r, close: close, names: len(r.names)}
}

// next moves to the value of the next element, or past the end. It reports
// which.
func (e *elements) next() bool {
	r := e.r
	r.space()
	if r.take(e.close) {
		r.depth--
		e.checkNames()
		return false
	}
	if e.n++; e.n > 1 && !r.take(',') {
		r.fail("want , or " + string(rune(e.close)))
	}
	r.space()
	if e.close == '}' {
		if e.n > maxMembers {
			r.fail("more than 1,024 members")
		}
		e.name = r.string()
		r.names = append(r.names, e.name)
		r.space()
		if !r.take(':') {
			r.fail("want :")
		}
		r.space()
	}
	return r.fault == ""
}

// checkNames refuses an object with two members of one name. Parsers differ in
// which of the two they take, and an attacker lives in the difference (RFC 7515
// section 4, RFC 7519 section 4).
func (e *elements) checkNames() {
	names := e.r.names[e.names:]
	compare := len(names) // each with so many before it
	if compare > 16 {
		sort.Strings(names) // which puts equal ones side by side
		compare = 1
	}
	for i, name := range names {
		for _, other := range names[max(i-compare, 0):i] {
			if name == other {
				e.r.fail("duplicate member name")
			}
		}
	}
	e.r.names = e.r.names[:e.names]
}

// skip reads any value and forgets it.
func (r *reader) skip() {
	switch r.peek() {
	case '{':
		r.skipObject()
	case '[':
		for a := r.array(); a.next(); {
			r.skip()
		}
	case '"':
		r.string()
	case 't', 'f':
		r.bool()
	case 'n':
		if !r.null() {
			r.fail("want a value")
		}
	default:
		r.number()
	}
}

// skipObject reads an object and forgets it.
func (r *reader) skipObject() {
	for o := r.object(); o.next(); {
		r.skip()
	}
}

// null moves past the literal null if it is next.
func (r *reader) null() bool { return r.literal("null") }

// bool reads true or false.
func (r *reader) bool() bool {
	value := r.literal("true")
	if !value && !r.literal("false") {
		r.fail("want true or false")
	}
	return value
}

func (r *reader) literal(word string) bool {
	if !strings.HasPrefix(r.text[r.pos:], word) {
		return false
	}
	r.pos += len(word)
	return true
}

// number reads a number and returns its text.
func (r *reader) number() string {
	start := r.pos
	r.take('-')
	if !r.take('0') {
		r.digits()
	}
	if r.take('.') {
		r.digits()
	}
	if r.take('e') || r.take('E') {
		if !r.take('+') {
			r.take('-')
		}
		r.digits()
	}
	return r.text[start:r.pos]
}

// digits moves past one or more digits.
func (r *reader) digits() {
	if c := r.peek(); c < '0' || c > '9' {
		r.fail("want a value, or a digit of one")
	}
	for c := r.peek(); c >= '0' && c <= '9'; c = r.peek() {
		r.pos++
	}
}

// string reads a string and returns it unescaped.
func (r *reader) string() string {
	if !r.take('"') {
		r.fail("want a string")
		return ""
	}
	rest, i := r.text[r.pos:], 0
	for i < len(rest) && rest[i] >= ' ' && rest[i] != '"' && rest[i] != '\\' {
		i++
	}
	if r.pos += i; r.take('"') {
		return rest[:i]
	}
	return r.escaped(rest[:i])
}

// escaped reads the rest of a string from the first byte on that is not plain;
// before is what was read of it so far.
func (r *reader) escaped(before string) string {
	b := []byte(before)
	for {
		switch c := r.peek(); {
		case r.take('"'):
			return string(b)
		case r.take('\\'):
			b = r.escape(b)
		case c < ' ':
			r.fail("want the end of a string, or an escaped control character")
			return ""
		default:
			b = append(b, c)
			r.pos++
		}
	}
}

// escape appends the character of the escape sequence behind a backslash.
func (r *reader) escape(b []byte) []byte {
	c := r.peek()
	if i := strings.IndexByte(`"\/bfnrt`, c); i >= 0 {
		r.pos++
		return append(b, "\"\\/\b\f\n\r\t"[i])
	}
	if !r.take('u') {
		r.fail("unknown escape sequence")
		return b
	}
	u := r.hex()
	// A surrogate must be the first of a pair. A lone one is no character:
	// decoders make U+FFFD of it, and then two names that differ are one.
	if u >= 0xD800 && u <= 0xDFFF {
		low := rune(-1)
		if u < 0xDC00 && r.take('\\') && r.take('u') {
			low = r.hex()
		}
		if low < 0xDC00 || low > 0xDFFF {
			r.fail("lone surrogate escape")
			return b
		}
		u = 0x10000 + (u-0xD800)<<10 + (low - 0xDC00)
	}
	return utf8.AppendRune(b, u)
}

// hex reads four hexadecimal digits.
func (r *reader) hex() rune {
	var u rune
	for i := 0; i < 4; i++ {
		d := strings.IndexByte("0123456789abcdefABCDEF", r.peek())
		if d < 0 {
			r.fail("want four hexadecimal digits")
			return 0
		}
		if d > 0xF {
			d -= 6
		}
		u = u<<4 | rune(d)
		r.pos++
	}
	return u
}

// header reads a JOSE header (RFC 7515 section 4).
func (r *reader) header() {
	alg := ""
	for o := r.object(); o.next(); {
		switch o.name {
		case "alg":
			alg = r.string()
		case "typ":
			if lower(r.string()) != "jwt" {
				r.fail("typ is not JWT")
			}
		case "crit", "b64", "zip", "enc", "cty", "jwk", "jku", "x5u", "x5c":
			// Each would change what is signed, what it means or which key
			// counts. crit demands that who does not know an extension refuses
			// the token (RFC 7515 section 4.1.11); cty is how Twilio marks its
			// Access Tokens.
			r.fail("a header member that no capability token has")
		default:
			r.skip()
		}
	}
	// The algorithm is fixed. A header that names another one is refused, and
	// never obeyed (RFC 8725 section 3.1).
	if alg != "HS256" {
		r.fail("alg is not HS256")
	}
}
