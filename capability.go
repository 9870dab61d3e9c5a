// Package capability mints and verifies Twilio TaskRouter capability tokens:
// JSON Web Tokens (RFC 7519) signed with HMAC-SHA256.
//
// A call centre's server holds the Twilio auth token. With it the server mints a
// capability token for one worker and hands that to the worker's browser, where
// TaskRouter.js opens a WebSocket with it and may make just the requests that
// the token's policies allow:
//
//	c := capability.NewWorker(workerSID, workspaceSID).AllowActivityUpdates()
//	token, err := c.Token()
//
// Whoever is shown a token asks:
//
//	claims, err := capability.VerifyAndValidate(token, key, capability.Clock{})
//
// It is no general JWT library. There is one algorithm, no lookup of keys, and
// no claim that makes a token mean something else.
//
// # The token
//
// A token is three parts in base64url without padding (RFC 4648 section 5), with
// a dot between them: header, payload, and the HMAC-SHA256 of everything before
// the second dot (RFC 7515 section 7.1). The key is the Twilio auth token as it
// stands, 32 letters and digits, not decoded. The header is always
//
//	{"alg":"HS256","typ":"JWT"}
//
// The payload is JSON without white space, its members in this order:
//
//	iss            account SID
//	exp            end of validity, in seconds since 1970 (RFC 7519 section 2)
//	nbf            start of validity; only with Capability.StartingAt
//	version        "v1"
//	friendly_name  the channel, unless set
//	account_sid    account SID
//	channel        worker, task queue or workspace SID
//	workspace_sid  workspace SID
//	worker_sid     the channel, for a worker
//	taskqueue_sid  the channel, for a task queue
//	policies       array of policies
//	               other claims, sorted by name
//
// A policy is
//
//	{"url":"…","method":"…","query_filter":{},"post_filter":{},"allow":true}
//
// and a filter is {"ActivitySid":{"required":true}}, its names sorted. Strings
// escape the quote, the backslash and U+0000 to U+001F (\b \f \n \r \t, else
// \u00xx), nothing else. A SID is two letters (AC, WS, WK, WQ) and 32 hexadecimal
// digits in either case.
//
// # Policies
//
// A token holds these, in this order. <resource> is …/Workspaces/WS…, with
// /Workers/WK… or /TaskQueues/WQ… behind it if it is one.
//
//	defaults                  GET     <event bridge>/AC…/<channel>
//	                          POST    <event bridge>/AC…/<channel>
//	                          GET     <resource>
//	  for a worker            GET     …/Workspaces/WS…/Activities
//	                          GET     …/Workspaces/WS…/Tasks/**
//	                          GET     <resource>/Reservations/**
//	AllowFetchSubresources    GET     <resource>/**
//	AllowUpdates              POST    <resource>
//	AllowUpdatesSubresources  POST    <resource>/**
//	AllowDelete               DELETE  <resource>
//	AllowDeleteSubresources   DELETE  <resource>/**
//	AllowActivityUpdates      POST    <resource>, ActivitySid required
//	AllowReservationUpdates   POST    …/Workspaces/WS…/Tasks/**
//	                          POST    <resource>/Reservations/**
//	Allow, Deny               in the order of their calls
//
// # Strict JSON
//
// Header and payload are read as RFC 8259 has it, and more strictly than
// encoding/json reads: valid UTF-8 without a byte order mark, no lone surrogate
// escapes, no two members of one name in an object at any level, at most 1,024
// members in an object, at most 32 objects and arrays within each other, nothing
// but white space around the value. Names and values are compared after
// unescaping, byte for byte, letter case included.
//
// # Verifying
//
// VerifySignature lists what is checked and in which order, Claims.UnmarshalJSON
// and Claims.Validate what must be in the claims. VerifyAndValidate does all of
// it. It reads what Twilio's helper libraries for Go, Node.js, PHP, Python and
// Ruby and ExTwilio mint.
//
// An error says who should act: ErrExpired and ErrNotYetValid, the holder of the
// token, who needs a new one; ErrMalformed and ErrSignature, nobody, or whoever
// rotates keys; ErrClaims, whoever else signs with this key; ErrKey and
// ErrInvalid, the operator of this program.
//
// # What this does not do
//
// A token is a bearer credential until it expires: nothing here revokes one or
// notices that it is used twice. The system's clock is trusted. Keys are not
// wiped from memory. What a token really allows is decided by Twilio.
//
// # Example
//
// The key 0123456789abcdef0123456789abcdef, the SIDs AC, WS and WK with the same
// digits, no defaults, a GET of the list of activities, and a start at 1464096368
// for 3600 seconds make this payload (without the line breaks)
//
//	{"iss":"AC0123456789abcdef0123456789abcdef","exp":1464099968,
//	"nbf":1464096368,"version":"v1","friendly_name":"alice",
//	"account_sid":"AC0123456789abcdef0123456789abcdef",
//	"channel":"WK0123456789abcdef0123456789abcdef",
//	"workspace_sid":"WS0123456789abcdef0123456789abcdef",
//	"worker_sid":"WK0123456789abcdef0123456789abcdef",
//	"policies":[{"url":"https://taskrouter.twilio.com/v1/Workspaces/
//	WS0123456789abcdef0123456789abcdef/Activities","method":"GET",
//	"query_filter":{},"post_filter":{},"allow":true}]}
//
// and this token (likewise), which the package's first example makes:
//
//	eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJBQzAxMjM0NTY3ODlhYmNkZWY
//	wMTIzNDU2Nzg5YWJjZGVmIiwiZXhwIjoxNDY0MDk5OTY4LCJuYmYiOjE0NjQwOTYzNjgsInZ
//	lcnNpb24iOiJ2MSIsImZyaWVuZGx5X25hbWUiOiJhbGljZSIsImFjY291bnRfc2lkIjoiQUM
//	wMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImNoYW5uZWwiOiJXSzAxMjM0NTY
//	3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmIiwid29ya3NwYWNlX3NpZCI6IldTMDEyMzQ1Njc
//	4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYiLCJ3b3JrZXJfc2lkIjoiV0swMTIzNDU2Nzg5YWJ
//	jZGVmMDEyMzQ1Njc4OWFiY2RlZiIsInBvbGljaWVzIjpbeyJ1cmwiOiJodHRwczovL3Rhc2t
//	yb3V0ZXIudHdpbGlvLmNvbS92MS9Xb3Jrc3BhY2VzL1dTMDEyMzQ1Njc4OWFiY2RlZjAxMjM
//	0NTY3ODlhYmNkZWYvQWN0aXZpdGllcyIsIm1ldGhvZCI6IkdFVCIsInF1ZXJ5X2ZpbHRlciI
//	6e30sInBvc3RfZmlsdGVyIjp7fSwiYWxsb3ciOnRydWV9XX0.7qN117jXlUczHewnG1E7_lX
//	-Uxz7gdvQLKG8-hoGxws
package capability

// This file holds the errors, Capability (what mints), Claims (what is read)
// and Clock. Invariants, numbered on from jwt.go:
//
//  7. A Capability and everything it refers to never change once made; what is
//     handed out is the receiver's own.
//  8. No token is made from a Capability of which one field is wrong.
//  9. Whatever is minted or marshalled, UnmarshalJSON reads back equal.
//  10. The environment is read in NewWorker, NewTaskQueue and NewWorkspace, and
//     the clock in Claims, Token, GenerateAndSign, Validate and
//     VerifyAndValidate; nowhere else.

import (
	"encoding/json"
	"errors"
	"os"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The kinds of error. Every error of this package is one of them under
// errors.Is; an error about several fields can be both ErrInvalid and ErrKey. No
// text holds a key or a token, nor what was passed to a builder.
var (
	// ErrInvalid: an argument is not acceptable. The calling program or its
	// configuration is wrong.
	ErrInvalid = errors.New("capability: invalid argument")
	// ErrKey: the key or the auth token is missing, too short, or cannot be one.
	ErrKey = errors.New("capability: unusable key, want at least 32 bytes, not all zero")
	// ErrMalformed: the string is not a token in its one spelling.
	ErrMalformed = errors.New("capability: malformed token, want at most 65,536 bytes: three parts of base64url " +
		"without padding, none empty, the third of 43 characters, with dots between them")
	// ErrSignature: the token was not signed with this key, or was changed.
	ErrSignature = errors.New("capability: wrong signature")
	// ErrClaims: the token was signed with this key, but its header or its
	// claims are not those of a TaskRouter capability.
	ErrClaims = errors.New("capability: unacceptable claims")
	// ErrExpired: the token was good and is no longer.
	ErrExpired = errors.New("capability: token expired")
	// ErrNotYetValid: the token is good, but not before its nbf.
	ErrNotYetValid = errors.New("capability: token not yet valid")
)

// A failure is an error about one or more things.
type failure struct {
	text  []byte
	kinds []error
}

func (f *failure) Error() string   { return string(f.text) }
func (f *failure) Unwrap() []error { return f.kinds }

// fail returns an error of one kind. It is not inlined for the sake of small
// programs: its callers are many.
//
//go:noinline
func fail(kind error, detail string) error {
	return &failure{[]byte(kind.Error() + ": " + detail), []error{kind}}
}

// add adds a field and its problem; with "" there is none.
func (f *failure) add(kind error, field, problem string) {
	if problem == "" {
		return
	}
	separator := "; "
	if f.text == nil {
		separator = "capability: "
	}
	f.text = appendAll(f.text, separator, field, ": ", problem)
	for _, k := range f.kinds {
		if k == kind {
			return
		}
	}
	f.kinds = append(f.kinds, kind)
}

// Must returns v if err is nil and panics with err if not. It is for start-up
// code and tests, never for a token from outside.
func Must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// endOfTime is the Unix time at which the year 9999 has ended. No time that this
// package writes or accepts is later, or before 1970.
const endOfTime = 253402300800

func inRange(t time.Time) bool { return uint64(t.Unix()) < endOfTime }

// ----------------------------------------------------------------------------
// Minting.

// A Capability is what a token is to say. NewWorker, NewTaskQueue and
// NewWorkspace make one, and each method returns a changed copy. None of them
// fails: Claims, Token and GenerateAndSign report everything that is wrong, in
// one error. They refuse the zero value.
//
// A Capability never changes. It may be kept, used by any number of goroutines
// at once, and be the base of others. The order of the calls does not matter,
// except that of Allow and Deny among themselves and of two calls that set the
// same thing, of which the last counts.
//
// Nothing that prints or encodes a Capability shows the auth token.
type Capability struct {
	kind   kind
	grants grant

	// The strings are behind a function, since neither fmt nor an encoder nor a
	// dumper looks into one. That goes for all of them: with two environment
	// variables swapped the account SID is the auth token.
	hidden func() settings

	ttl    time.Duration
	start  time.Time // if set has startSet
	set    set
	custom *custom                    // the last call of Allow or Deny
	extra  map[string]json.RawMessage // never changed; nil: does not marshal
}

type settings struct {
	accountSID, authToken, workspaceSID, channelSID string
	friendlyName, taskRouterURL, eventBridgeURL     string
}

// A set says what was set by a method, for what has a meaning when it was not.
type set uint8

const (
	workerSIDSet set = 1 << iota
	friendlyNameSet
	startSet
)

// A custom is one call of Allow or Deny. It points to the one before, which
// copies share; so a call costs the same however many there are.
type custom struct {
	json     []byte // the policy and a comma
	problem  string // or what is wrong with it: what was passed may be a secret
	previous *custom
}

// NewWorker returns a Capability for one worker (WK…) of a workspace (WS…),
// with the default policies and a TTL of one hour.
//
// Account SID and auth token are those that the environment variables
// TWILIO_ACCOUNT_SID and TWILIO_AUTH_TOKEN have at this call, unless
// WithAccountSID and WithAuthToken set others.
func NewWorker(workerSID, workspaceSID string) Capability {
	return newCapability(worker, workerSID, workspaceSID)
}

// NewTaskQueue is like NewWorker, for a task queue (WQ…).
func NewTaskQueue(taskQueueSID, workspaceSID string) Capability {
	return newCapability(taskQueue, taskQueueSID, workspaceSID)
}

// NewWorkspace is like NewWorker, for a workspace (WS…) as a whole.
func NewWorkspace(workspaceSID string) Capability {
	return newCapability(workspace, workspaceSID, workspaceSID)
}

func newCapability(k kind, channelSID, workspaceSID string) Capability {
	return Capability{kind: k, grants: defaults, ttl: time.Hour}.hide(settings{
		accountSID:     os.Getenv("TWILIO_ACCOUNT_SID"),
		authToken:      os.Getenv("TWILIO_AUTH_TOKEN"),
		workspaceSID:   workspaceSID,
		channelSID:     channelSID,
		taskRouterURL:  taskRouterURL,
		eventBridgeURL: eventBridgeURL,
	})
}

// get returns the strings; none for the zero value, which has no kind either.
func (c Capability) get() settings {
	if c.hidden == nil {
		return settings{}
	}
	return c.hidden()
}

func (c Capability) hide(s settings) Capability {
	c.hidden = func() settings { return s }
	return c
}

func (c Capability) with(what set, change func(*settings)) Capability {
	s := c.get()
	change(&s)
	c.set |= what
	return c.hide(s)
}

// WithAccountSID sets the account SID (AC…) in place of TWILIO_ACCOUNT_SID.
func (c Capability) WithAccountSID(sid string) Capability {
	return c.with(0, func(s *settings) { s.accountSID = sid })
}

// WithAuthToken sets the auth token, which signs, in place of TWILIO_AUTH_TOKEN.
// It has at least MinKeySize bytes, and no white space or control characters: a
// line feed from the end of a file would sign tokens that Twilio refuses.
// Anything else is ErrKey.
func (c Capability) WithAuthToken(token string) Capability {
	return c.with(0, func(s *settings) { s.authToken = token })
}

// WithWorkerSID sets the worker. It is for NewWorker only; with it one
// Capability serves as the base for many workers.
func (c Capability) WithWorkerSID(sid string) Capability {
	return c.with(workerSIDSet, func(s *settings) { s.channelSID = sid })
}

// WithWorkspaceSID sets the workspace.
func (c Capability) WithWorkspaceSID(sid string) Capability {
	return c.with(0, func(s *settings) {
		s.workspaceSID = sid
		if c.kind == workspace {
			s.channelSID = sid
		}
	})
}

// WithFriendlyName sets the claim friendly_name: 1 to 256 characters of valid
// UTF-8, none of Unicode's class Cc. Without it, it is the channel's SID.
func (c Capability) WithFriendlyName(name string) Capability {
	return c.with(friendlyNameSet, func(s *settings) { s.friendlyName = name })
}

// WithTaskRouterURL sets what the URLs of the defaults and of the named grants
// begin with, for Twilio's regional endpoints, in place of
// https://taskrouter.twilio.com/v1. The form is that of Allow without wildcards.
// The URLs given to Allow and Deny stay as they are, and so does ResourceURL.
func (c Capability) WithTaskRouterURL(base string) Capability {
	return c.with(0, func(s *settings) { s.taskRouterURL = base })
}

// WithEventBridgeURL is like WithTaskRouterURL for the event bridge, to which
// TaskRouter.js connects, in place of
// https://event-bridge.twilio.com/v1/wschannels.
func (c Capability) WithEventBridgeURL(base string) Capability {
	return c.with(0, func(s *settings) { s.eventBridgeURL = base })
}

// WithTTL sets how long the token is valid from its start: at least one second.
// Fractions of a second are cut off.
func (c Capability) WithTTL(ttl time.Duration) Capability {
	c.ttl = ttl
	return c
}

// StartingAt sets the start: the claim nbf. Fractions of a second are cut off;
// it must be within the years 1970 to 9999, and so must the end. Without
// StartingAt the start is the time at which the token is made and there is no
// nbf, so that a clock that is a little fast does not make tokens of the future.
func (c Capability) StartingAt(t time.Time) Capability {
	c.start = t
	c.set |= startSet
	return c
}

// WithClaims adds claims, each value marshalled now, as json.Marshal does. A
// name that was added before gets the new value.
//
// A name has 1 to 128 printable ASCII characters without quote and backslash. It
// is not, in any letter case, a name that a capability has (iss, exp, nbf,
// version, friendly_name, account_sid, channel, workspace_sid, worker_sid,
// taskqueue_sid, policies), nor scope or grants, which would make the same string
// another kind of Twilio token, nor aud, which UnmarshalJSON refuses. sub and jti are strings, iat is a whole
// number of seconds within the years 1970 to 9999. A value must read back as
// strict JSON, and the token has at most 1,024 claims in all.
func (c Capability) WithClaims(extra map[string]any) Capability {
	merged := make(map[string]json.RawMessage, len(c.extra)+len(extra))
	for name, value := range c.extra {
		merged[name] = value
	}
	for name, value := range extra {
		// On an error the value is nil, which is no JSON and will be refused.
		merged[name], _ = json.Marshal(value)
	}
	c.extra = merged
	return c
}

// WithoutDefaults leaves out the default policies, the event bridge included:
// what is left is only what is granted. With no grants either, the token allows
// nothing.
func (c Capability) WithoutDefaults() Capability {
	c.grants &^= defaults
	return c
}

func (c Capability) grant(g grant) Capability {
	c.grants |= g
	return c
}

// AllowActivityUpdates lets a worker change its own activity, and with it in the
// same request any other of its properties: POST <resource> with ActivitySid.
// For NewWorker only.
func (c Capability) AllowActivityUpdates() Capability { return c.grant(activityUpdates) }

// AllowReservationUpdates lets a worker answer its reservations and update
// tasks: POST …/Tasks/** and POST <resource>/Reservations/**. Tasks/** is every
// task of the workspace. For NewWorker only.
func (c Capability) AllowReservationUpdates() Capability { return c.grant(reservationUpdates) }

// AllowFetchSubresources allows GET <resource>/**: the resource itself and all
// below it. For a workspace that is everything in it.
func (c Capability) AllowFetchSubresources() Capability { return c.grant(fetchSubresources) }

// AllowUpdates allows POST <resource>, with any parameters.
func (c Capability) AllowUpdates() Capability { return c.grant(updates) }

// AllowUpdatesSubresources allows POST <resource>/**: the resource itself and
// all below it, with any parameters. For a workspace that is everything in it.
func (c Capability) AllowUpdatesSubresources() Capability { return c.grant(updatesSubresources) }

// AllowDelete allows DELETE <resource>.
func (c Capability) AllowDelete() Capability { return c.grant(deletes) }

// AllowDeleteSubresources allows DELETE <resource>/**: the resource itself and
// all below it. For a workspace that is everything in it.
func (c Capability) AllowDeleteSubresources() Capability { return c.grant(deletesSubresources) }

// Allow adds a policy that allows requests of a method (GET, POST, PUT, PATCH or
// DELETE) to a URL with the parameters that the filters require, of the query
// and of the body. A filter may be nil, and is copied.
//
// The URL is https://host[:port] and one or more /segment. The host is lower-case
// letters, digits and hyphens in labels with single dots between them. The port
// is 1 to 65535 without leading zeros, and not 443. A segment is one or more of
// A-Z a-z 0-9 - _ . ~ but not . or .., or * (any one segment), or, as the last,
// ** (any number of segments, none included). There is no other spelling: no
// slash at the end, no query, no percent sign. See ResourceURL.
//
// ExTwilio's allow takes the URL before the method.
func (c Capability) Allow(method, url string, queryFilter, postFilter Filter) Capability {
	return c.add(Policy{method, url, queryFilter, postFilter, true})
}

// Deny is like Allow, but adds a policy that denies. How Twilio ranks a denial
// against a grant is not published: rather do not grant.
func (c Capability) Deny(method, url string, queryFilter, postFilter Filter) Capability {
	return c.add(Policy{method, url, queryFilter, postFilter, false})
}

func (c Capability) add(p Policy) Capability {
	next := custom{problem: checkPolicy(p), previous: c.custom}
	if next.problem == "" {
		next.json = appendPolicy(make([]byte, 0, 256), p)
	}
	c.custom = &next
	return c
}

// customs returns the calls of Allow and Deny in their order.
func (c Capability) customs() []*custom {
	n := 0
	for p := c.custom; p != nil; p = p.previous {
		n++
	}
	list := make([]*custom, n)
	for p := c.custom; p != nil; p = p.previous {
		n--
		list[n] = p
	}
	return list
}

// Claims returns the claims that the token would have, which may be changed. It
// needs no auth token; otherwise its errors are those of Token.
func (c Capability) Claims() (Claims, error) {
	payload, err := c.payload(nil, false)
	if err != nil {
		return Claims{}, err
	}
	// What a verifier will see, and nobody else's.
	var claims Claims
	err = claims.UnmarshalJSON(payload)
	return claims, err
}

// Token returns the token. The error names every field that is wrong and the
// rule that it breaks; it is ErrKey if that is the auth token, ErrInvalid if it
// is something else or if the token would exceed MaxTokenSize, and both if both
// are.
func (c Capability) Token() (string, error) {
	var room [4096]byte // enough for most payloads, and not on the heap
	payload, err := c.payload(room[:0], true)
	if err != nil {
		return "", err
	}
	return sign(payload, []byte(c.get().authToken)), nil
}

// GenerateAndSign returns the token with the extra claims added, as by
// WithClaims, and its claims, as by Claims. The errors are those of Token.
func (c Capability) GenerateAndSign(extra map[string]any) (string, Claims, error) {
	c = c.WithClaims(extra)
	payload, err := c.payload(nil, true)
	var claims Claims
	if err == nil {
		err = claims.UnmarshalJSON(payload)
	}
	if err != nil {
		return "", Claims{}, err
	}
	return sign(payload, []byte(c.get().authToken)), claims, nil
}

// payload checks every field and appends the payload to b. The auth token is
// checked if it is to be signed.
func (c Capability) payload(b []byte, signed bool) ([]byte, error) {
	start := c.start
	if c.set&startSet == 0 {
		start = time.Now()
	}
	s, customs := c.get(), c.customs()
	if err := c.check(s, customs, start, signed); err != nil {
		return nil, err
	}
	claims := Claims{
		Issuer:       s.accountSID,
		ExpiresAt:    c.end(start),
		Version:      "v1",
		FriendlyName: s.friendlyName,
		AccountSID:   s.accountSID,
		Channel:      s.channelSID,
		WorkspaceSID: s.workspaceSID,
		Extra:        c.extra,
	}
	if c.set&startSet != 0 {
		claims.NotBefore = start
	}
	if c.set&friendlyNameSet == 0 {
		claims.FriendlyName = s.channelSID
	}
	switch c.kind {
	case worker:
		claims.WorkerSID = s.channelSID
	case taskQueue:
		claims.TaskQueueSID = s.channelSID
	}
	b = claims.appendHead(b)
	b = c.appendRules(b, s)
	for _, p := range customs {
		b = append(b, p.json...)
	}
	b = claims.appendTail(b)
	if err := checkSize(b); err != nil {
		return nil, err
	}
	return b, nil
}

// check returns an error that names every field that is wrong.
func (c Capability) check(s settings, customs []*custom, start time.Time, signed bool) error {
	if c.kind == 0 {
		return fail(ErrInvalid, "zero Capability, want one from NewWorker, NewTaskQueue or NewWorkspace")
	}
	const notWorker = "want a capability from NewWorker"
	const years = "want a time within the years 1970 to 9999"
	kind := kinds[c.kind]
	var f failure
	if signed {
		f.add(ErrKey, "auth token (TWILIO_AUTH_TOKEN)", checkAuthToken(s.authToken))
	}
	for _, check := range [...]struct{ field, problem string }{
		{"account SID (TWILIO_ACCOUNT_SID)", checkSID(s.accountSID, "AC")},
		{"workspace SID", checkSID(s.workspaceSID, "WS")},
		{kind.name, unless(c.kind == workspace, checkSID(s.channelSID, kind.prefix))},
		{"WithWorkerSID", unless(c.kind == worker || c.set&workerSIDSet == 0, notWorker)},
		{"AllowActivityUpdates", unless(c.kind == worker || c.grants&activityUpdates == 0, notWorker)},
		{"AllowReservationUpdates", unless(c.kind == worker || c.grants&reservationUpdates == 0, notWorker)},
		{"friendly name", unless(c.set&friendlyNameSet == 0, checkFriendlyName(s.friendlyName))},
		{"TaskRouter URL", checkURL(s.taskRouterURL, false)},
		{"event bridge URL", checkURL(s.eventBridgeURL, false)},
		{"TTL", unless(c.ttl >= time.Second, "want at least one second")},
		{"start", unless(inRange(start), years)},
		{"end", unless(inRange(c.end(start)), years)},
		{"extra claims", unless(len(c.extra) <= maxMembers-c.members(), "want at most 1,024 claims in all")},
	} {
		f.add(ErrInvalid, check.field, check.problem)
	}
	for i, p := range customs {
		f.add(ErrInvalid, "policy "+strconv.Itoa(i+1), p.problem)
	}
	for i, name := range sortedNames(c.extra) {
		f.add(ErrInvalid, "extra claim "+strconv.Itoa(i+1)+" by name", checkClaim(name, c.extra[name]))
	}
	if f.kinds == nil {
		return nil
	}
	return &failure{f.text, f.kinds}
}

// unless returns the problem unless ok.
func unless(ok bool, problem string) string {
	if ok {
		return ""
	}
	return problem
}

// end returns when a token that starts at start ends.
func (c Capability) end(start time.Time) time.Time {
	return time.Unix(start.Unix()+int64(c.ttl/time.Second), 0)
}

// members returns how many claims the token has without the extra ones.
func (c Capability) members() int {
	n := 8 // iss exp version friendly_name account_sid channel workspace_sid policies
	if c.set&startSet != 0 {
		n++
	}
	if c.kind != workspace {
		n++
	}
	return n
}

// reserved has the names that no extra claim may have. A name has no quotes.
const reserved = `"iss"exp"nbf"version"friendly_name"account_sid"channel"workspace_sid"worker_sid"taskqueue_sid"policies"` +
	`"aud"scope"grants"`

// checkClaim says what is wrong with an extra claim; "" if nothing is.
func checkClaim(name string, value json.RawMessage) string {
	if !isName(name, ' ') {
		return "name: want 1 to 128 printable ASCII characters without quote and backslash"
	}
	// In another letter case too: a reader that folds case would take it for one
	// of ours, or for the scope of a voice capability, which the same key signs.
	if strings.Contains(reserved, `"`+lower(name)+`"`) {
		return "name: reserved, in any letter case"
	}
	r := newReader(string(value))
	r.depth = 1 // the payload
	r.skip()
	if problem := r.end(); problem != "" {
		return "value: want what marshals to strict JSON; " + problem
	}
	switch name {
	case "sub", "jti":
		if value[0] != '"' {
			return "value: want a string"
		}
	case "iat":
		if !only(string(value), isDigit) || integer(string(value)) >= endOfTime {
			return "value: want a whole number of seconds within the years 1970 to 9999"
		}
	}
	return ""
}

func checkSID(sid, prefix string) string {
	if isSID(sid, prefix) {
		return ""
	}
	return strconv.Itoa(len(sid)) + " bytes, want " + prefix + " and 32 hexadecimal digits"
}

func checkAuthToken(token string) string {
	if len(token) < MinKeySize || strings.IndexFunc(token, isBlank) >= 0 {
		return strconv.Itoa(len(token)) + " bytes, want at least 32 and no white space or control characters"
	}
	return ""
}

func checkFriendlyName(name string) string {
	n := utf8.RuneCountInString(name)
	if n < 1 || n > 256 || !utf8.ValidString(name) || strings.IndexFunc(name, isControl) >= 0 {
		return "want 1 to 256 characters of valid UTF-8, no control characters"
	}
	return ""
}

// isBlank reports whether c is of Unicode's White_Space or class Cc.
func isBlank(c rune) bool {
	return c <= ' ' || c >= 0x7F && (isControl(c) || 0x2000 <= c && c <= 0x200A ||
		strings.ContainsRune("\u00a0\u1680\u2028\u2029\u202f\u205f\u3000", c))
}

// isControl reports whether c is of Unicode's class Cc.
func isControl(c rune) bool { return c < ' ' || 0x7F <= c && c <= 0x9F }

// ----------------------------------------------------------------------------
// Claims.

// Claims are what a token says. A token that VerifyAndValidate accepts has claims
// that Validate accepts. The zero value is refused by Validate and MarshalJSON.
type Claims struct {
	Issuer       string // iss: the account SID
	Version      string // version: "v1"
	FriendlyName string // friendly_name; "" also when there is none
	AccountSID   string // account_sid (AC…)
	Channel      string // channel: the worker, task queue or workspace SID
	WorkspaceSID string // workspace_sid (WS…)
	WorkerSID    string // worker_sid (WK…); "" if the token is not for a worker
	TaskQueueSID string // taskqueue_sid (WQ…); "" if it is not for a task queue

	// ExpiresAt is exp and NotBefore nbf, in UTC. The token is valid from
	// NotBefore on, which is zero if there is no nbf, and before ExpiresAt.
	ExpiresAt, NotBefore time.Time

	Policies []Policy // policies; never nil, but may be empty

	// Extra has the other claims, by name, each the JSON text of its value; nil
	// when there are none.
	Extra map[string]json.RawMessage
}

// UnmarshalJSON reads the claims of a payload. Claims it does not know go to
// Extra. It implements json.Unmarshaler, but refuses null. On an error, which is
// ErrClaims, c stays as it was.
//
// It demands strict JSON with iss, account_sid, channel, workspace_sid, version
// (strings, not empty), exp (a number) and policies (an array). If they are
// there, worker_sid and taskqueue_sid are strings, not empty; friendly_name is a
// string or null; nbf and iat are numbers; sub and jti are strings. exp, nbf and
// iat are within the years 1970 to 9999 (RFC 7519 section 2); fractions are kept
// to the nanosecond. aud is refused: there is nothing here to compare it with,
// and then RFC 7519 section 4.1.3 wants it rejected.
//
// A policy has url and method (strings), allow or, as ExTwilio writes, allowed
// (true or false, the same if both are there), and may have query_filter and
// post_filter: null, or objects of objects with required (true or false) and
// nothing else. Its other members are ignored.
func (c *Claims) UnmarshalJSON(data []byte) error {
	var claims Claims
	r := newReader(string(data))
	claims.read(&r)
	if problem := r.end(); problem != "" {
		return fail(ErrClaims, problem)
	}
	*c = claims
	return nil
}

// read reads the claims into c, which is empty.
func (c *Claims) read(r *reader) {
	for o := r.object(); o.next(); {
		switch o.name {
		case "iss":
			c.Issuer = r.nonempty()
		case "exp":
			c.ExpiresAt = r.date()
		case "nbf":
			c.NotBefore = r.date()
		case "version":
			c.Version = r.nonempty()
		case "friendly_name":
			if !r.null() {
				c.FriendlyName = r.string()
			}
		case "account_sid":
			c.AccountSID = r.nonempty()
		case "channel":
			c.Channel = r.nonempty()
		case "workspace_sid":
			c.WorkspaceSID = r.nonempty()
		case "worker_sid":
			c.WorkerSID = r.nonempty()
		case "taskqueue_sid":
			c.TaskQueueSID = r.nonempty()
		case "policies":
			c.Policies = r.policies()
		default:
			c.readExtra(r, o.name)
		}
	}
	if c.Issuer == "" || c.ExpiresAt.IsZero() || c.Version == "" || c.AccountSID == "" || c.Channel == "" ||
		c.WorkspaceSID == "" || c.Policies == nil {
		r.fail("want iss, exp, version, account_sid, channel, workspace_sid and policies")
	}
}

// readExtra reads a claim that has no field, and keeps a copy of its text.
func (c *Claims) readExtra(r *reader, name string) {
	start := r.pos
	switch name {
	case "aud":
		r.fail("want no aud: this verifier is nobody's audience")
	case "sub", "jti":
		r.string()
	case "iat":
		r.date()
	default:
		r.skip()
	}
	if c.Extra == nil {
		c.Extra = map[string]json.RawMessage{}
	}
	c.Extra[name] = json.RawMessage(r.text[start:r.pos])
}

// nonempty reads a string that must not be empty, since a field that is empty
// stands for a claim that is not there.
func (r *reader) nonempty() string {
	s := r.string()
	if s == "" {
		r.fail("want a string that is not empty")
	}
	return s
}

// date reads a NumericDate (RFC 7519 section 2), exactly; what is less than a
// nanosecond is cut off. The magnitude is decided on the digits, before they
// become an integer: made one from a float64, 1e300 could become any time at
// all, and a token that is never valid one that always is.
func (r *reader) date() time.Time {
	const zeros = "000000000000000000000" // 12 digits of seconds, 9 of nanoseconds
	number := r.number()
	mantissa, exponent, _ := strings.Cut(lower(number), "e")
	whole, fraction, _ := strings.Cut(strings.TrimPrefix(mantissa, "-"), ".")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return time.Unix(0, 0).UTC()
	}
	// How many digits, from the first that counts, are seconds or nanoseconds.
	shift := integer(strings.TrimLeft(exponent, "+-"))
	if strings.HasPrefix(exponent, "-") {
		shift = -shift
	}
	n := max(int64(len(digits)-len(fraction)+9)+shift, 0)
	sec, nsec := int64(endOfTime), int64(0)
	if number[0] != '-' && n <= int64(len(zeros)) {
		fixed := zeros[n:] + (digits + zeros)[:n]
		sec, nsec = integer(fixed[:12]), integer(fixed[12:])
	}
	if sec >= endOfTime {
		r.fail("want a number of seconds within the years 1970 to 9999")
	}
	return time.Unix(sec, nsec).UTC()
}

// integer returns the number that decimal digits spell, at most 1e18.
func integer(digits string) int64 {
	var n int64
	for i := 0; i < len(digits); i++ {
		if n = n*10 + int64(digits[i]-'0'); n > 1e17 {
			return 1e18
		}
	}
	return n
}

// MarshalJSON returns the payload of the token with these claims, as the package
// documentation describes it. (json.Marshal then writes <, >, &, U+2028 and
// U+2029 as escapes: the same value in another spelling.)
//
// The error is ErrInvalid for claims that UnmarshalJSON would refuse or not read
// back as they are, and for times that are not whole seconds, which Twilio
// refuses. Policies, Extra and filters that are empty are like those that are
// nil.
func (c Claims) MarshalJSON() ([]byte, error) {
	if c.ExpiresAt.Nanosecond() != 0 || c.NotBefore.Nanosecond() != 0 {
		return nil, fail(ErrInvalid, "exp, nbf: want whole seconds")
	}
	b := c.appendHead(nil)
	for _, p := range c.Policies {
		b = appendPolicy(b, p)
	}
	b = c.appendTail(b)

	// What Extra holds goes out as it is. Reading it back shows whether it was
	// JSON, and one value each: not 1,"worker_sid":"WK…".
	var back Claims
	if err := back.UnmarshalJSON(b); err != nil {
		return nil, fail(ErrInvalid, strings.TrimPrefix(err.Error(), "capability: "))
	}
	for name, value := range c.Extra {
		if string(back.Extra[name]) != string(value) {
			return nil, fail(ErrInvalid, "extra claims: want names that no field has, and one JSON value each")
		}
	}
	return b, nil
}

// appendHead appends the payload up to the bracket that opens the policies.
func (c *Claims) appendHead(b []byte) []byte {
	b = appendString(b, `{"iss":`, c.Issuer)
	b = strconv.AppendInt(append(b, `,"exp":`...), c.ExpiresAt.Unix(), 10)
	if !c.NotBefore.IsZero() {
		b = strconv.AppendInt(append(b, `,"nbf":`...), c.NotBefore.Unix(), 10)
	}
	b = appendString(b, `,"version":`, c.Version)
	b = appendString(b, `,"friendly_name":`, c.FriendlyName)
	b = appendString(b, `,"account_sid":`, c.AccountSID)
	b = appendString(b, `,"channel":`, c.Channel)
	b = appendString(b, `,"workspace_sid":`, c.WorkspaceSID)
	if c.WorkerSID != "" {
		b = appendString(b, `,"worker_sid":`, c.WorkerSID)
	}
	if c.TaskQueueSID != "" {
		b = appendString(b, `,"taskqueue_sid":`, c.TaskQueueSID)
	}
	return append(b, `,"policies":[`...)
}

// appendTail appends the payload from behind the policies on.
func (c *Claims) appendTail(b []byte) []byte {
	if b[len(b)-1] == ',' { // of the last policy
		b = b[:len(b)-1]
	}
	b = append(b, ']')
	for _, name := range sortedNames(c.Extra) {
		b = append(appendString(b, ",", name), ':')
		b = append(b, c.Extra[name]...)
	}
	return append(b, '}')
}

func sortedNames[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// appendString appends what goes before a string, and the string as JSON.
func appendString(b []byte, before, s string) []byte {
	b = append(append(b, before...), '"')
	plain := 0 // where what needs no escape begins
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(append(b, s[plain:i]...), '\\')
		plain = i + 1
		if c >= ' ' {
			plain = i // the character itself, unchanged
		} else if strings.IndexByte("\b\f\n\r\t", c) >= 0 {
			b = append(b, "btn?fr"[c-'\b'])
		} else {
			b = append(b, 'u', '0', '0', '0'+c>>4, "0123456789abcdef"[c&0xF])
		}
	}
	return append(append(b, s[plain:]...), '"')
}

// A Clock says at which instant claims are validated. The zero value is the
// system's clock without leeway.
type Clock struct {
	// At is the instant, within the years 1970 to 9999; if zero, it is the time
	// of the call.
	At time.Time
	// Leeway is how far the clock of whoever made the token may be off: so much
	// earlier than nbf, and so much later than exp, is tolerated. 0 to 10 minutes.
	Leeway time.Duration
}

// resolve returns the instant, or ErrInvalid.
func (clock Clock) resolve() (time.Time, error) {
	at := clock.At
	if at.IsZero() {
		at = time.Now()
	}
	if !inRange(at) {
		return time.Time{}, fail(ErrInvalid, "clock: want a time within the years 1970 to 9999")
	}
	if clock.Leeway < 0 || clock.Leeway > 10*time.Minute {
		return time.Time{}, fail(ErrInvalid, "clock: want a leeway of 0 to 10 minutes")
	}
	return at, nil
}

// VerifyAndValidate returns the claims of a token that was signed with key and
// is a TaskRouter capability that is valid at the clock's instant. The key is
// the account's auth token, without the line feed that a file may end with: with
// it every token is ErrSignature.
//
// It checks the clock (ErrInvalid), does what VerifySignature does (ErrKey,
// ErrMalformed, ErrSignature, ErrClaims), reads the claims as
// Claims.UnmarshalJSON does (ErrClaims), and validates them as Claims.Validate
// does (ErrClaims, ErrNotYetValid, ErrExpired).
//
// It does not know who the token should be for: compare WorkerSID, TaskQueueSID
// or Channel with a value that you know is not empty.
func VerifyAndValidate(token string, key []byte, clock Clock) (Claims, error) {
	at, err := clock.resolve()
	if err != nil {
		return Claims{}, err
	}
	var claims Claims
	if _, err := verify(token, key, &claims); err != nil {
		return Claims{}, err
	}
	if err := claims.validate(at, clock.Leeway); err != nil {
		return Claims{}, err
	}
	return claims, nil
}

// Validate reports whether claims that were read or made by hand are those of a
// capability that is valid at the clock's instant. It checks, in this order:
//
//   - the clock (ErrInvalid);
//   - that version is v1, iss and account_sid are the same, and account_sid,
//     workspace_sid and channel are SIDs; that the channel is worker_sid and
//     there is no taskqueue_sid, or the channel is taskqueue_sid and there is no
//     worker_sid, or the channel is workspace_sid and there is neither; that exp,
//     and nbf if there, are within the years 1970 to 9999; and that there is no
//     aud (ErrClaims);
//   - that the instant is not earlier than nbf less the leeway (ErrNotYetValid;
//     RFC 7519 section 4.1.5);
//   - that it is earlier than exp plus the leeway (ErrExpired; section 4.1.4).
func (c Claims) Validate(clock Clock) error {
	at, err := clock.resolve()
	if err != nil {
		return err
	}
	return c.validate(at, clock.Leeway)
}

func (c *Claims) validate(at time.Time, leeway time.Duration) error {
	if problem := c.relations(); problem != "" {
		return fail(ErrClaims, problem)
	}
	// Both ends as in RFC 7519: valid "on or after" nbf, not "on or after" exp.
	early, late := at.Before(c.NotBefore.Add(-leeway)), !at.Before(c.ExpiresAt.Add(leeway))
	if !early && !late {
		return nil
	}
	kind, claim := ErrExpired, c.ExpiresAt
	if early {
		kind, claim = ErrNotYetValid, c.NotBefore
	}
	return fail(kind, "that is at "+strconv.FormatInt(claim.Unix(), 10)+", now is "+strconv.FormatInt(at.Unix(), 10))
}

// relations says what is wrong between the claims; "" if nothing is.
func (c *Claims) relations() string {
	// The channel is the kind of the token. The claims must name it and no other:
	// else an application that looks at worker_sid alone lets in a token for
	// something else.
	var workerSID, taskQueueSID string
	if isSID(c.Channel, "WK") {
		workerSID = c.Channel
	} else if isSID(c.Channel, "WQ") {
		taskQueueSID = c.Channel
	}
	_, audience := c.Extra["aud"]
	switch {
	case c.Version != "v1":
		return "version: want v1"
	case c.Issuer != c.AccountSID:
		return "iss: want what account_sid is"
	case !isSID(c.AccountSID, "AC"):
		return "account_sid: want AC and 32 hexadecimal digits"
	case !isSID(c.WorkspaceSID, "WS"):
		return "workspace_sid: want WS and 32 hexadecimal digits"
	case workerSID+taskQueueSID == "" && c.Channel != c.WorkspaceSID:
		return "channel: want a worker or task queue SID, or what workspace_sid is"
	case c.WorkerSID != workerSID:
		return "worker_sid: want what channel is for a worker, else none"
	case c.TaskQueueSID != taskQueueSID:
		return "taskqueue_sid: want what channel is for a task queue, else none"
	case !inRange(c.ExpiresAt), !c.NotBefore.IsZero() && !inRange(c.NotBefore):
		return "exp, nbf: want times within the years 1970 to 9999"
	case audience:
		return "aud: want none"
	}
	return ""
}

// lower returns s with its ASCII letters in lower case, and no other changed.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] += 'a' - 'A'
		}
	}
	return string(b)
}
