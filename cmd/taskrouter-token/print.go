package main

// This file makes the texts about a token that was verified. All that comes from
// the token goes through plain or asciiJSON: else a claim could move a terminal's
// cursor, or look like a line or a column of ours.

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"taskrouter/capability"
)

// answer says whether a token allows a request.
func answer(claims capability.Claims, request []string) (string, int, error) {
	allowed, err := claims.Allows(request[0], request[1], request[2:]...)
	if err != nil {
		return "", 0, fmt.Errorf("-can: %w", err)
	}
	if !allowed {
		return "not allowed: a browser with this token could not make this request\n", 3, nil
	}
	return "allowed: a browser with this token could make this request\n", 0, nil
}

// describe returns the claims and the policies for a person to read.
func describe(claims capability.Claims, clock capability.Clock) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-13s  %s\n", name, plain(value))
		}
	}
	line("iss", claims.Issuer)
	line("exp", claims.ExpiresAt.Format(time.RFC3339Nano))
	if !claims.NotBefore.IsZero() {
		line("nbf", claims.NotBefore.Format(time.RFC3339Nano))
	}
	line("version", claims.Version)
	line("friendly_name", claims.FriendlyName)
	line("account_sid", claims.AccountSID)
	line("channel", claims.Channel)
	line("workspace_sid", claims.WorkspaceSID)
	line("worker_sid", claims.WorkerSID)
	line("taskqueue_sid", claims.TaskQueueSID)

	left := claims.ExpiresAt.Add(clock.Leeway).Sub(clock.At)
	text := left.Truncate(time.Second).String()
	if left == math.MaxInt64 { // the longest Duration there is
		text = "292 years or more"
	}
	fmt.Fprintf(&b, "\nvalid for another %s, counted from %s, with a leeway of %v\n",
		text, clock.At.UTC().Format(time.RFC3339), clock.Leeway)

	fmt.Fprintf(&b, "\npolicies: %d\n", len(claims.Policies))
	for _, p := range claims.Policies {
		verdict := map[bool]string{true: "allow", false: "deny"}[p.Allow]
		fmt.Fprintf(&b, "  %-5s  %-6s  %s%s%s\n", verdict, plain(p.Method), plain(p.URL),
			required("query", p.QueryFilter), required("body", p.PostFilter))
	}

	fmt.Fprintf(&b, "\nother claims: %d\n", len(claims.Extra))
	names := make([]string, 0, len(claims.Extra))
	for name := range claims.Extra {
		names = append(names, name)
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s  %s\n", plain(name), asciiJSON(claims.Extra[name]))
	}
	return b.String()
}

// required returns a column of the parameters that a filter requires.
func required(where string, filter capability.Filter) string {
	var names []string
	for name, requirement := range filter {
		if requirement == capability.Required {
			names = append(names, plain(name))
		}
	}
	if names == nil {
		return ""
	}
	sort.Strings(names)
	return "  " + where + ": " + strings.Join(names, ", ")
}

// plain returns s as it is if it looks like a SID, a time or the URL of a policy,
// and else quoted in printable ASCII.
func plain(s string) string {
	const bare = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~:/*"
	if s != "" && strings.Trim(s, bare) == "" {
		return s
	}
	return strconv.QuoteToASCII(s)
}

// asciiJSON returns strict JSON on one line of printable ASCII.
func asciiJSON(text []byte) string {
	var b strings.Builder
	for _, unit := range utf16.Encode([]rune(string(text))) {
		switch {
		case unit < ' ': // between values only: strings have it escaped
		case unit <= '~':
			b.WriteByte(byte(unit))
		default:
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.String()
}
