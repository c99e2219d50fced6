package shop

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// Answer is a response beyond the plain 200 with a JSON body.
type Answer struct {
	Status int
	Header map[string]string
	Body   any
}

// Failure is an error with the status that it is answered with.
type Failure struct {
	Status int
	Reason string
}

// Error says what went wrong, as the body of the answer does.
func (f *Failure) Error() string { return f.Reason }

// Fail makes a [Failure].
func Fail(status int, format string, args ...any) error {
	return &Failure{Status: status, Reason: fmt.Sprintf(format, args...)}
}

// Handle turns a function from request to value into a handler that speaks JSON. The value may be an [Answer].
func Handle(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		value, err := f(r)
		answer, ok := value.(Answer)
		if !ok {
			answer = Answer{Status: http.StatusOK, Body: value}
		}
		if err != nil {
			status := http.StatusInternalServerError
			if failure := (*Failure)(nil); errors.As(err, &failure) {
				status = failure.Status
			}
			answer.Status, answer.Body = status, map[string]string{"error": err.Error()}
		}
		body, err := json.Marshal(answer.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		for name, v := range answer.Header {
			w.Header().Set(name, v)
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(answer.Status)
		w.Write(body)
	})
}

// Read decodes a request's JSON body, at most 1 MiB of it.
func Read(r *http.Request, into any) error {
	if err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(into); err != nil {
		return Fail(http.StatusBadRequest, "read the body of %s: %v", r.URL.Path, err)
	}
	return nil
}
