package capability_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"taskrouter/capability"
)

// Made-up values. A real auth token comes from the environment or a secret store,
// never from source code.
const (
	accountSID   = "AC0123456789abcdef0123456789abcdef"
	authToken    = "0123456789abcdef0123456789abcdef"
	workspaceSID = "WS0123456789abcdef0123456789abcdef"
	workerSID    = "WK0123456789abcdef0123456789abcdef"
	taskQueueSID = "WQ0123456789abcdef0123456789abcdef"
)

var start = time.Unix(1464096368, 0)

// The worked example of the package documentation.
func Example() {
	c := capability.NewWorker(workerSID, workspaceSID).
		WithAccountSID(accountSID).
		WithAuthToken(authToken).
		WithoutDefaults().
		WithFriendlyName("alice").
		Allow("GET", capability.ResourceURL(workspaceSID, "Activities"), nil, nil).
		StartingAt(start)
	token, err := c.Token()
	if err != nil {
		fmt.Println(err)
		return
	}
	for rest := token; rest != ""; {
		n := min(len(rest), 72)
		fmt.Println(rest[:n])
		rest = rest[n:]
	}

	claims, err := capability.VerifyAndValidate(token, []byte(authToken), capability.Clock{At: start})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claims.FriendlyName, claims.WorkerSID, claims.ExpiresAt.Unix())
	// Output:
	// eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpc3MiOiJBQzAxMjM0NTY3ODlhYmNkZWY
	// wMTIzNDU2Nzg5YWJjZGVmIiwiZXhwIjoxNDY0MDk5OTY4LCJuYmYiOjE0NjQwOTYzNjgsInZ
	// lcnNpb24iOiJ2MSIsImZyaWVuZGx5X25hbWUiOiJhbGljZSIsImFjY291bnRfc2lkIjoiQUM
	// wMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZiIsImNoYW5uZWwiOiJXSzAxMjM0NTY
	// 3ODlhYmNkZWYwMTIzNDU2Nzg5YWJjZGVmIiwid29ya3NwYWNlX3NpZCI6IldTMDEyMzQ1Njc
	// 4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWYiLCJ3b3JrZXJfc2lkIjoiV0swMTIzNDU2Nzg5YWJ
	// jZGVmMDEyMzQ1Njc4OWFiY2RlZiIsInBvbGljaWVzIjpbeyJ1cmwiOiJodHRwczovL3Rhc2t
	// yb3V0ZXIudHdpbGlvLmNvbS92MS9Xb3Jrc3BhY2VzL1dTMDEyMzQ1Njc4OWFiY2RlZjAxMjM
	// 0NTY3ODlhYmNkZWYvQWN0aXZpdGllcyIsIm1ldGhvZCI6IkdFVCIsInF1ZXJ5X2ZpbHRlciI
	// 6e30sInBvc3RfZmlsdGVyIjp7fSwiYWxsb3ciOnRydWV9XX0.7qN117jXlUczHewnG1E7_lX
	// -Uxz7gdvQLKG8-hoGxws
	// alice WK0123456789abcdef0123456789abcdef 1464099968
}

// A server mints for whoever is logged in, from one base that it checks when it
// starts. The answer must not be stored: it is a credential.
func ExampleCapability_WithWorkerSID() {
	base := capability.NewWorker(workerSID, workspaceSID).
		WithAccountSID(accountSID).WithAuthToken(authToken). // in production from the environment
		WithTTL(15 * time.Minute).
		AllowActivityUpdates().
		AllowReservationUpdates()
	capability.Must(base.Token())

	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The worker's SID comes from the session, never from the request.
		token, err := base.WithWorkerSID(loggedInWorker(r)).Token()
		if err != nil {
			http.Error(w, "no token", http.StatusInternalServerError)
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "application/jwt")
		w.Write([]byte(token))
	})

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("POST", "/token", nil))
	claims, err := capability.VerifyAndValidate(w.Body.String(), []byte(authToken), capability.Clock{})
	fmt.Println(w.Code, w.Header().Get("Cache-Control"), claims.WorkerSID, err)
	// Output: 200 no-store WKfedcba9876543210fedcba9876543210 <nil>
}

func loggedInWorker(*http.Request) string { return "WKfedcba9876543210fedcba9876543210" }

// While an auth token is rotated, tokens of the old one are still about. The
// second key is tried only if the first did not sign: every other error is final.
func ExampleVerifyAndValidate_keyRotation() {
	verify := func(token string, keys ...[]byte) (claims capability.Claims, err error) {
		for _, key := range keys {
			claims, err = capability.VerifyAndValidate(token, key, capability.Clock{At: start})
			if !errors.Is(err, capability.ErrSignature) {
				break
			}
		}
		return claims, err
	}

	const oldAuthToken = "fedcba9876543210fedcba9876543210"
	c := capability.NewWorker(workerSID, workspaceSID).WithAccountSID(accountSID).WithAuthToken(oldAuthToken).StartingAt(start)
	claims, err := verify(capability.Must(c.Token()), []byte(authToken), []byte(oldAuthToken))
	fmt.Println(claims.WorkerSID, err)

	_, err = verify(capability.Must(c.WithAuthToken("00000000000000000000000000000000").Token()), []byte(authToken), []byte(oldAuthToken))
	fmt.Println(err)
	// Output:
	// WK0123456789abcdef0123456789abcdef <nil>
	// capability: wrong signature
}

// A test can fix the clock. It compares the worker with a value that is known not
// to be empty.
func ExampleClock() {
	c := capability.NewWorker(workerSID, workspaceSID).WithAccountSID(accountSID).WithAuthToken(authToken).StartingAt(start)
	token := capability.Must(c.Token())
	for _, at := range []time.Time{start, start.Add(time.Hour)} {
		claims, err := capability.VerifyAndValidate(token, []byte(authToken), capability.Clock{At: at})
		fmt.Println(claims.WorkerSID == workerSID, errors.Is(err, capability.ErrExpired))
	}
	// Output:
	// true false
	// false true
}

// A custom policy: the worker may set the attributes of tasks, if it says which
// it changes.
func ExampleCapability_Allow() {
	c := capability.NewWorker(workerSID, workspaceSID).WithAccountSID(accountSID).
		Allow("POST", capability.ResourceURL(workspaceSID, "Tasks", "*"), nil, capability.Filter{"Attributes": capability.Required})
	policies := capability.Must(c.Claims()).Policies
	last, err := json.Marshal(policies[len(policies)-1])
	fmt.Println(string(last), err)
	// Output: {"Method":"POST","URL":"https://taskrouter.twilio.com/v1/Workspaces/WS0123456789abcdef0123456789abcdef/Tasks/*","QueryFilter":null,"PostFilter":{"Attributes":true},"Allow":true} <nil>
}

// A token for a task queue: a wallboard that only reads.
func ExampleNewTaskQueue() {
	c := capability.NewTaskQueue(taskQueueSID, workspaceSID).WithAccountSID(accountSID).WithAuthToken(authToken).AllowFetchSubresources()
	claims := capability.Must(capability.VerifyAndValidate(capability.Must(c.Token()), []byte(authToken), capability.Clock{}))
	fmt.Println(claims.TaskQueueSID)
	for _, p := range claims.Policies {
		fmt.Println(p.Method, p.URL[strings.LastIndex(p.URL, "/v1/"):])
	}
	// Output:
	// WQ0123456789abcdef0123456789abcdef
	// GET /v1/wschannels/AC0123456789abcdef0123456789abcdef/WQ0123456789abcdef0123456789abcdef
	// POST /v1/wschannels/AC0123456789abcdef0123456789abcdef/WQ0123456789abcdef0123456789abcdef
	// GET /v1/Workspaces/WS0123456789abcdef0123456789abcdef/TaskQueues/WQ0123456789abcdef0123456789abcdef
	// GET /v1/Workspaces/WS0123456789abcdef0123456789abcdef/TaskQueues/WQ0123456789abcdef0123456789abcdef/**
}

// A worker that may look at itself and at nothing else, not even the event
// bridge.
func ExampleCapability_WithoutDefaults() {
	c := capability.NewWorker(workerSID, workspaceSID).WithAccountSID(accountSID).
		WithoutDefaults().
		Allow("GET", capability.ResourceURL(workspaceSID, "Workers", workerSID), nil, nil)
	for _, p := range capability.Must(c.Claims()).Policies {
		fmt.Println(p.Method, p.URL)
	}
	// Output: GET https://taskrouter.twilio.com/v1/Workspaces/WS0123456789abcdef0123456789abcdef/Workers/WK0123456789abcdef0123456789abcdef
}

// An application's own test of what it hands out: a worker may change its
// activity, and must not complete tasks or read another worker.
func ExampleClaims_Allows() {
	c := capability.NewWorker(workerSID, workspaceSID).WithAccountSID(accountSID).AllowActivityUpdates()
	claims := capability.Must(c.Claims()) // no auth token is needed

	worker := capability.ResourceURL(workspaceSID, "Workers", workerSID)
	for _, test := range []struct {
		method, url string
		params      []string
		want        bool
	}{
		{"POST", worker, []string{"ActivitySid"}, true},
		{"POST", worker, []string{"Attributes"}, false},
		{"GET", worker + "/Reservations", []string{"ReservationStatus"}, true},
		{"POST", capability.ResourceURL(workspaceSID, "Tasks", "WT0123456789abcdef0123456789abcdef"), []string{"AssignmentStatus"}, false},
		{"GET", capability.ResourceURL(workspaceSID, "Workers", "WKfedcba9876543210fedcba9876543210"), nil, false},
	} {
		got, err := claims.Allows(test.method, test.url, test.params...)
		if got != test.want || err != nil {
			fmt.Println(test.method, test.url, got, err) // t.Errorf in a test
		}
	}
	fmt.Println("done")
	// Output: done
}
