package capability

// This file holds what a token grants: policies, the grammar of their URLs, and
// the table of grants. What may stand in a policy is checked here and nowhere
// else.
//
// Invariant: a URL that checkURL accepts has one spelling and one meaning. It
// holds no character that a server would decode, normalize or cut off after
// matching it, and none that JSON has to escape.

import (
	"strconv"
	"strings"
)

const (
	taskRouterURL  = "https://taskrouter.twilio.com/v1"
	eventBridgeURL = "https://event-bridge.twilio.com/v1/wschannels"
)

// A Requirement says whether a request must have a parameter for a policy to
// apply. The zero value is Optional.
type Requirement bool

const (
	// Required is a parameter that the request must have.
	Required Requirement = true
	// Optional is a parameter that the request may have.
	Optional Requirement = false
)

// A Filter names request parameters and says which are required. On the wire it
// is {"ActivitySid":{"required":true}}. A required parameter does not forbid
// others. nil and the empty Filter are the same: no parameter is required.
//
// A name has 1 to 128 bytes of 0x21 to 0x7E without quote and backslash, and a
// filter at most 1,024 names.
type Filter map[string]Requirement

// A Policy allows or denies requests of one method to the URLs of one pattern.
// The zero value is none that this package makes. In a policy read from a token
// Method and URL are as they stand there; another library may have written
// anything.
type Policy struct {
	Method string // GET, POST, PUT, PATCH or DELETE

	// URL is https://host[:port]/segment/… as Capability.Allow describes it. A
	// segment * stands for any one segment, ** as the last one for any number.
	URL string

	QueryFilter Filter // parameters of the URL's query; nil when empty
	PostFilter  Filter // parameters of the request's body; nil when empty
	Allow       bool   // false: deny
}

// ResourceURL returns the URL of a workspace or of something below it, for
// Capability.Allow and Capability.Deny:
//
//	ResourceURL(workspaceSID, "Workers", workerSID, "Channels", "**")
//
// It returns "", which Allow and Deny refuse, if workspaceSID is not WS and 32
// hexadecimal digits or if an element is not one segment as Capability.Allow
// describes it. An element * or ** is a wildcard wherever it comes from: check
// elements that come from outside, for example that a worker SID is one.
//
// The URL begins with the default TaskRouter URL.
func ResourceURL(workspaceSID string, path ...string) string {
	if !isSID(workspaceSID, "WS") {
		return ""
	}
	for i, segment := range path {
		if !isSegment(segment) && !isWildcard(segment, i == len(path)-1) {
			return ""
		}
	}
	return strings.Join(append([]string{taskRouterURL, "Workspaces", workspaceSID}, path...), "/")
}

// isSID reports whether s is the prefix and 32 hexadecimal digits. SIDs go into
// policy URLs: there "**" or "WK…/../x" would widen the grant.
func isSID(s, prefix string) bool {
	return len(s) == 34 && s[:2] == prefix && only(s[2:], func(c byte) bool {
		return isDigit(c) || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	})
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// only reports whether every byte of s is of a class.
func only(s string, class func(byte) bool) bool {
	for i := 0; i < len(s); i++ {
		if !class(s[i]) {
			return false
		}
	}
	return true
}

// isSegment reports whether s is one segment of a URL's path, no wildcard. The
// characters are RFC 3986's unreserved ones. No percent sign, since what a
// server decodes after matching must not be in a policy, and no dot segments,
// since a server may resolve them.
func isSegment(s string) bool {
	return s != "" && s != "." && s != ".." && only(s, func(c byte) bool {
		return isLower(c) || isDigit(c) || 'A' <= c && c <= 'Z' || c == '-' || c == '_' || c == '.' || c == '~'
	})
}

// isWildcard reports whether s is a wildcard where it stands.
func isWildcard(s string, last bool) bool { return s == "*" || s == "**" && last }

// checkURL says what is wrong with a URL; "" if nothing is.
func checkURL(url string, wildcards bool) string {
	rest, found := strings.CutPrefix(url, "https://")
	if !found {
		return "want https://host/path, no other scheme"
	}
	host, rest, found := strings.Cut(rest, "/")
	if !isHost(host) {
		return "want a host in lower case, and no port or one of 1 to 65535 that is not 443"
	}
	if !found {
		return "want at least one path segment"
	}
	for found {
		var s string
		s, rest, found = strings.Cut(rest, "/")
		if isSegment(s) || wildcards && isWildcard(s, !found) {
			continue
		}
		if wildcards {
			return "want path segments of A-Z a-z 0-9 - _ . ~, not . or .., or * or at the end **"
		}
		return "want path segments of A-Z a-z 0-9 - _ . ~, not . or .."
	}
	return ""
}

// isHost reports whether s is a host, with or without a port, in its one
// spelling.
func isHost(s string) bool {
	host, port, hasPort := strings.Cut(s, ":")
	for more := true; more; {
		var label string
		label, host, more = strings.Cut(host, ".")
		if label == "" || !only(label, func(c byte) bool { return isLower(c) || isDigit(c) || c == '-' }) {
			return false
		}
	}
	if !hasPort {
		return true
	}
	return only(port, isDigit) && integer(port) <= 65535 && port != "" && port[0] != '0' && port != "443"
}

// checkMethod says what is wrong with a method; "" if nothing is.
func checkMethod(method string) string {
	switch method {
	case "GET", "POST", "PUT", "PATCH", "DELETE":
		return ""
	}
	return "method: want GET, POST, PUT, PATCH or DELETE, and then the URL"
}

// checkPolicy says what is wrong with a policy; "" if nothing is.
func checkPolicy(p Policy) string {
	if problem := checkMethod(p.Method); problem != "" {
		return problem
	}
	if problem := checkURL(p.URL, true); problem != "" {
		return "URL: " + problem
	}
	if problem := checkFilter(p.QueryFilter); problem != "" {
		return "query filter: " + problem
	}
	if problem := checkFilter(p.PostFilter); problem != "" {
		return "post filter: " + problem
	}
	return ""
}

func checkFilter(f Filter) string {
	if len(f) > maxMembers {
		return strconv.Itoa(len(f)) + " names, want at most " + strconv.Itoa(maxMembers)
	}
	for name := range f {
		if !isName(name, '!') {
			return "want names of 1 to 128 bytes of 0x21 to 0x7E without quote and backslash"
		}
	}
	return ""
}

// isName reports whether s may be the name of a parameter or of an extra claim:
// printable ASCII from lowest on, and nothing that JSON escapes.
func isName(s string, lowest byte) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < lowest || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return 1 <= len(s) && len(s) <= 128
}

// A kind is the kind of resource that a token speaks for. The zero value is
// none.
type kind uint8

const (
	worker kind = 1 << iota
	taskQueue
	workspace
	anyKind = worker | taskQueue | workspace
)

// kinds says what is different about each: the prefix of its SID, its name, and
// its path below the workspace.
var kinds = [...]struct{ prefix, name, path string }{
	worker:    {"WK", "worker SID", "/Workers/"},
	taskQueue: {"WQ", "task queue SID", "/TaskQueues/"},
	workspace: {"WS", "workspace SID", ""},
}

// A grant is a set of policies that has a name.
type grant uint16

const (
	defaults grant = 1 << iota
	fetchSubresources
	updates
	updatesSubresources
	deletes
	deletesSubresources
	activityUpdates
	reservationUpdates
)

// A base is where a policy's URL begins.
type base uint8

const (
	events    base = iota // the channel on the event bridge
	container             // the workspace
	resource              // the worker, task queue or workspace itself
)

// A rule is one policy of a grant.
type rule struct {
	grant  grant
	kinds  kind // which kinds have it
	method string
	base   base
	path   string
	param  string // a post parameter that is required
}

// rules is the table of grants, in the order in which a token holds them.
var rules = [...]rule{
	{defaults, anyKind, "GET", events, "", ""},
	{defaults, anyKind, "POST", events, "", ""},
	{defaults, anyKind, "GET", resource, "", ""},
	{defaults, worker, "GET", container, "/Activities", ""},
	{defaults, worker, "GET", container, "/Tasks/**", ""},
	{defaults, worker, "GET", resource, "/Reservations/**", ""},
	{fetchSubresources, anyKind, "GET", resource, "/**", ""},
	{updates, anyKind, "POST", resource, "", ""},
	{updatesSubresources, anyKind, "POST", resource, "/**", ""},
	{deletes, anyKind, "DELETE", resource, "", ""},
	{deletesSubresources, anyKind, "DELETE", resource, "/**", ""},
	{activityUpdates, worker, "POST", resource, "", "ActivitySid"},
	{reservationUpdates, worker, "POST", container, "/Tasks/**", ""},
	{reservationUpdates, worker, "POST", resource, "/Reservations/**", ""},
}

// appendRules appends the policies that the grants come to. Nothing in their
// URLs needs an escape.
func (c Capability) appendRules(b []byte, s settings) []byte {
	for _, rule := range rules {
		if c.grants&rule.grant == 0 || c.kind&rule.kinds == 0 {
			continue
		}
		b = append(b, `{"url":"`...)
		if rule.base == events {
			b = appendAll(b, s.eventBridgeURL, "/", s.accountSID, "/", s.channelSID)
		} else {
			b = appendAll(b, s.taskRouterURL, "/Workspaces/", s.workspaceSID)
		}
		if rule.base == resource && c.kind != workspace {
			b = appendAll(b, kinds[c.kind].path, s.channelSID)
		}
		var post Filter
		if rule.param != "" {
			post = Filter{rule.param: Required}
		}
		b = appendAll(b, rule.path, `"`)
		b = appendRest(b, rule.method, nil, post, true)
	}
	return b
}

// appendAll is not inlined for the sake of small programs: its callers are many.
//
//go:noinline
func appendAll(b []byte, parts ...string) []byte {
	for _, part := range parts {
		b = append(b, part...)
	}
	return b
}

// appendPolicy appends a policy of any content, and a comma.
func appendPolicy(b []byte, p Policy) []byte {
	b = appendString(b, `{"url":`, p.URL)
	return appendRest(b, p.Method, p.QueryFilter, p.PostFilter, p.Allow)
}

// appendRest appends what follows a policy's URL.
func appendRest(b []byte, method string, query, post Filter, allow bool) []byte {
	b = appendString(b, `,"method":`, method)
	b = appendFilter(append(b, `,"query_filter":{`...), query)
	b = appendFilter(append(b, `},"post_filter":{`...), post)
	b = strconv.AppendBool(append(b, `},"allow":`...), allow)
	return append(b, "},"...)
}

func appendFilter(b []byte, f Filter) []byte {
	if len(f) == 0 {
		return b
	}
	for i, name := range sortedNames(f) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, "", name)
		b = strconv.AppendBool(append(b, `:{"required":`...), bool(f[name]))
		b = append(b, '}')
	}
	return b
}

// policies reads the value of the claim policies.
func (r *reader) policies() []Policy {
	policies := make([]Policy, 0, 16)
	for a := r.array(); a.next(); {
		policies = append(policies, r.policy())
	}
	return policies[:len(policies):len(policies)]
}

// policy reads one policy as any of Twilio's libraries writes it.
func (r *reader) policy() Policy {
	var p Policy
	var hasURL, hasMethod, hasAllow bool
	for o := r.object(); o.next(); {
		switch o.name {
		case "url":
			p.URL, hasURL = r.string(), true
		case "method":
			p.Method, hasMethod = r.string(), true
		case "query_filter":
			p.QueryFilter = r.filter()
		case "post_filter":
			p.PostFilter = r.filter()
		case "allow", "allowed": // ExTwilio writes allowed
			allow := r.bool()
			if hasAllow && allow != p.Allow {
				r.fail("allow and allowed disagree")
			}
			p.Allow, hasAllow = allow, true
		default:
			r.skip()
		}
	}
	if !hasURL || !hasMethod || !hasAllow {
		r.fail("want a policy with url, method and allow")
	}
	return p
}

func (r *reader) filter() Filter {
	var f Filter
	if r.null() {
		return nil
	}
	for o := r.object(); o.next(); {
		required, found := false, false
		for value := r.object(); value.next(); {
			if value.name != "required" {
				r.fail("want required, nothing else")
			}
			required, found = r.bool(), true
		}
		if !found {
			r.fail("want required")
		}
		if f == nil {
			f = Filter{}
		}
		f[o.name] = Requirement(required)
	}
	return f
}

// Allows reports whether a browser that holds the token could make a request:
// one of the method to the URL with the parameters named. The method is as in a
// policy. The URL is too, but without wildcards; one slash at its end does not
// matter. The parameters are those of the query for GET and DELETE, those of the
// body for the other methods; give names, not values (a=b is the name a=b, which
// no policy requires).
//
// The error is ErrInvalid if the method, the URL or the name of a parameter is
// not of that form (a query belongs into params), so that a slip cannot make a
// test pass.
//
// It is an aid for tests, not an access decision: it is this package's reading
// of the rules that Twilio publishes, and where those leave a choice it reports
// a grant. It ignores the time. A grant holds if the URL matches and every
// Required parameter of the filter is there; others do not matter, so a worker
// that may post ActivitySid may post Attributes beside it. The wildcard * is one
// segment, ** any number, none included: Tasks/** is every task of the
// workspace, and the list of them. A denial that matches wins; in a denial ** is
// one segment or more. How Twilio itself ranks denials is not published: rely on
// not granting rather than on Deny.
//
// In grants that another library wrote, a segment that has * among other
// characters is taken for *, ** matches all that follows wherever it stands, the
// host included, and one slash at the end does not matter. In denials such things
// match nothing.
func (c Claims) Allows(method, url string, params ...string) (bool, error) {
	url = strings.TrimSuffix(url, "/")
	if problem := checkMethod(method); problem != "" {
		return false, fail(ErrInvalid, problem)
	}
	if problem := checkURL(url, false); problem != "" {
		return false, fail(ErrInvalid, "URL: "+problem)
	}
	given := Filter{}
	for _, name := range params {
		given[name] = Required
	}
	if problem := checkFilter(given); problem != "" {
		return false, fail(ErrInvalid, "parameters: "+problem)
	}
	allowed, segments := false, strings.Split(url, "/")
	for _, p := range c.Policies {
		filter := p.PostFilter
		if method == "GET" || method == "DELETE" {
			filter = p.QueryFilter
		}
		if p.Method == method && matches(p, segments) && satisfies(given, filter) {
			if !p.Allow {
				return false, nil
			}
			allowed = true
		}
	}
	return allowed, nil
}

// satisfies reports whether every parameter that the filter requires is given.
func satisfies(given, f Filter) bool {
	for name, requirement := range f {
		if requirement == Required && given[name] != Required {
			return false
		}
	}
	return true
}

// matches reports whether the policy's URL matches one that is of the grammar.
// The segments are what is between the slashes: the third is the host.
func matches(p Policy, segments []string) bool {
	pattern := p.URL
	if p.Allow {
		pattern = strings.TrimSuffix(pattern, "/")
	}
	want := strings.Split(pattern, "/")
	for i, s := range want {
		if p.Allow && strings.Contains(s, "**") {
			return true
		}
		if i >= len(segments) {
			return false
		}
		if p.Allow && strings.Contains(s, "*") || i > 2 && s == "*" || s == segments[i] {
			continue
		}
		return i > 2 && s == "**" && i == len(want)-1
	}
	return len(want) == len(segments)
}
