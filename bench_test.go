package capability

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
)

// The benchmarks stand beside their floors: run both in one go and compare. A
// floor does only what no design on the standard library can avoid, base64 and
// HMAC of the same bytes, with one buffer and one hmac.New.

var (
	benchToken  string
	benchClaims Claims
	benchOK     bool
)

// benchCapability is the worker of the aims in README.md, with n custom policies.
func benchCapability(n int) Capability {
	c := NewWorker(testWorker, testWorkspace).AllowActivityUpdates().AllowReservationUpdates()
	for i := 0; i < n; i++ {
		c = c.Allow("POST", ResourceURL(testWorkspace, "Tasks", "WT"+strconv.Itoa(i)), nil, Filter{"Attributes": Required})
	}
	return c
}

func benchSetup(b *testing.B, n int) (token string, payload []byte) {
	b.Helper()
	b.Setenv("TWILIO_ACCOUNT_SID", testAccount)
	b.Setenv("TWILIO_AUTH_TOKEN", testKey)
	token, err := benchCapability(n).Token()
	if err != nil {
		b.Fatal(err)
	}
	payload, err = VerifySignature(token, []byte(testKey))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(token)))
	b.ReportAllocs()
	b.ResetTimer()
	return token, payload
}

func floorSign(payload, key []byte) []byte {
	n := len(header) + 1 + base64.RawURLEncoding.EncodedLen(len(payload))
	buf := make([]byte, n+44, n+44+sha256.Size)
	copy(buf, header+".")
	base64.RawURLEncoding.Encode(buf[len(header)+1:], payload)
	mac := hmac.New(sha256.New, key)
	mac.Write(buf[:n])
	buf[n] = '.'
	base64.RawURLEncoding.Encode(buf[n+1:], mac.Sum(buf[n+44:]))
	return buf
}

func floorVerify(token string, key []byte) bool {
	dot1, dot2 := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	buf := make([]byte, len(token)+base64.RawURLEncoding.DecodedLen(len(token)), 2*len(token)+sha256.Size)
	n := copy(buf, token)
	out := buf[n:]
	h, _ := base64.RawURLEncoding.Decode(out, buf[:dot1])
	p, _ := base64.RawURLEncoding.Decode(out[h:], buf[dot1+1:dot2])
	s, _ := base64.RawURLEncoding.Decode(out[h+p:], buf[dot2+1:n])
	mac := hmac.New(sha256.New, key)
	mac.Write(buf[:dot2])
	return hmac.Equal(mac.Sum(buf[len(buf):]), out[h+p:h+p+s])
}

func BenchmarkFloorSign(b *testing.B) {
	_, payload := benchSetup(b, 0)
	key := []byte(testKey)
	for i := 0; i < b.N; i++ {
		benchOK = len(floorSign(payload, key)) > 0
	}
}

func BenchmarkToken(b *testing.B) {
	benchSetup(b, 0)
	for i := 0; i < b.N; i++ {
		benchToken, _ = benchCapability(0).Token()
	}
}

func BenchmarkFloorVerify(b *testing.B) {
	token, _ := benchSetup(b, 0)
	key := []byte(testKey)
	for i := 0; i < b.N; i++ {
		benchOK = floorVerify(token, key)
	}
}

func BenchmarkVerifyAndValidate(b *testing.B) {
	token, _ := benchSetup(b, 0)
	key := []byte(testKey)
	for i := 0; i < b.N; i++ {
		benchClaims, _ = VerifyAndValidate(token, key, Clock{})
	}
}

func BenchmarkVerifySignature(b *testing.B) {
	token, _ := benchSetup(b, 0)
	key := []byte(testKey)
	for i := 0; i < b.N; i++ {
		payload, _ := VerifySignature(token, key)
		benchOK = len(payload) > 0
	}
}

func BenchmarkRejectForged(b *testing.B) {
	token, _ := benchSetup(b, 0)
	key := []byte(testKey + "x")
	for i := 0; i < b.N; i++ {
		_, err := VerifyAndValidate(token, key, Clock{})
		benchOK = err != nil
	}
}

// The scale series: the time must grow with the token, and no faster.
func BenchmarkScale(b *testing.B) {
	for _, n := range []int{1, 10, 100} {
		b.Run("FloorSign/"+strconv.Itoa(n), func(b *testing.B) {
			_, payload := benchSetup(b, n)
			for i := 0; i < b.N; i++ {
				benchOK = len(floorSign(payload, []byte(testKey))) > 0
			}
		})
		b.Run("Token/"+strconv.Itoa(n), func(b *testing.B) {
			benchSetup(b, n)
			for i := 0; i < b.N; i++ {
				benchToken, _ = benchCapability(n).Token()
			}
		})
		b.Run("FloorVerify/"+strconv.Itoa(n), func(b *testing.B) {
			token, _ := benchSetup(b, n)
			for i := 0; i < b.N; i++ {
				benchOK = floorVerify(token, []byte(testKey))
			}
		})
		b.Run("VerifyAndValidate/"+strconv.Itoa(n), func(b *testing.B) {
			token, _ := benchSetup(b, n)
			for i := 0; i < b.N; i++ {
				benchClaims, _ = VerifyAndValidate(token, []byte(testKey), Clock{})
			}
		})
	}
}

// worstPayloads fill a token of MaxTokenSize with what costs the reader most, each
// beside a plain string of the same size. Only who holds the key can make them.
var worstPayloads = map[string]func() string{
	"Plain": func() string { return `"` + strings.Repeat("x", 48000) + `",` },
	"Deep":  func() string { return strings.Repeat(strings.Repeat("[", 30)+strings.Repeat("]", 30)+",", 780) },
	"Members": func() string {
		var members []string
		for i := 0; i < maxMembers; i++ {
			members = append(members, `"`+strconv.FormatInt(int64(i*7919%maxMembers), 36)+`":0`)
		}
		object := "{" + strings.Join(members, ",") + "}"
		return strings.Repeat(object+",", 48000/len(object))
	},
	"Escapes": func() string { return `"` + strings.Repeat(`\u0041`, 8000) + `",` },
}

func BenchmarkWorst(b *testing.B) {
	for name, text := range worstPayloads {
		payload := `{"x":[` + text() + `0]}`
		b.Run(name, func(b *testing.B) {
			token, err := Sign([]byte(payload), []byte(testKey))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(len(token)))
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; i++ {
				if _, err := VerifySignature(token, []byte(testKey)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
