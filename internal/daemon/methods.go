package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"reflect"
	"strings"

	"github.com/devloop-io/devloop/internal/control"
	"github.com/devloop-io/devloop/traffic"
)

// methods is the API: what can be asked, and what of the session answers it. Each is POST /v1/NAME; the REST routes in
// routes.go, MCP tools and CLI verbs lead here.
func (s *server) methods() []method {
	return []method{
		tells(control.Method[none, control.Status]{Name: "status"}, s.status),
		tells(control.Method[control.RunRequest, traffic.Iteration]{Name: "run"}, s.session.Iterate),
		tells(control.Method[control.WaitRequest, traffic.Iteration]{Name: "wait"}, s.session.Wait),
		answers(control.Method[control.WindowRequest, control.WindowOpened]{Name: "window_open"}, s.session.WindowOpen),
		answers(control.Method[control.IterationRequest, traffic.Iteration]{Name: "window_close"}, s.session.WindowClose),
		looks(control.Method[control.IterationRequest, traffic.Iteration]{Name: "verdict"}, s.session.Verdict),
		looks(control.Method[control.IterationRequest, traffic.Iteration]{Name: "judge"}, s.session.Judge),
		answers(control.Method[control.EvidenceRequest, control.EvidenceAnswer]{Name: "evidence"}, s.session.Evidence),
		answers(control.Method[control.QueryRequest, control.QueryAnswer]{Name: "query"}, s.session.Query),
		looks(control.Method[control.GetRequest, control.GetAnswer]{Name: "get"}, s.session.Get),
		answers(control.Method[control.TraceRequest, control.TraceAnswer]{Name: "trace"}, s.session.Trace),
		looks(control.Method[control.ExpressionRequest, traffic.CheckResult]{Name: "expression"}, s.session.Expression),
		tells(control.Method[none, control.CaptureStatus]{Name: "capture"}, s.capture),
		answers(control.Method[control.CaptureTargets, control.CaptureStatus]{Name: "configure_capture"}, s.session.ConfigureCapture),
		answers(control.Method[control.SwitchRequest, control.CaptureStatus]{Name: "switch_capture"}, s.session.SwitchCapture),
		tells(control.Method[none, control.DoctorAnswer]{Name: "doctor"}, s.doctor),
		tells(control.Method[control.FollowRequest, none]{Name: "follow"}, s.follow),
		tells(control.Method[none, none]{Name: "events"}, s.events),
		looks(control.GetFile, s.exported),
		answers(control.Method[control.ListenRequest, control.Listening]{Name: "listen"}, s.listen),
		answers(control.OpenDashboard, s.openDashboard),
		answers(control.ListIterations, s.session.Iterations),
		answers(control.ListAPICalls, s.session.ListAPICalls),
		answers(control.GetAPICall, s.session.GetAPICall),
		answers(control.GetAPIStats, s.session.GetAPIStats),
		answers(control.ListL4Flows, s.session.ListL4Flows),
		answers(control.GetFlowSummary, s.session.GetFlowSummary),
		answers(control.GetServiceMap, s.session.GetServiceMap),
		answers(control.GetService, s.session.GetService),
		answers(control.ListWorkloads, s.session.ListWorkloads),
		answers(control.ListIPs, s.session.ListIPs),
		answers(control.ApplyFilter, s.session.ApplyFilter),
		answers(control.GetCallTree, s.session.CallTree),
		answers(control.CompareTraffic, s.session.CompareTraffic),
		answers(control.ListEvents, s.session.ListEvents),
		answers(control.GetDependents, s.session.Dependents),
		answers(control.ListEgress, s.session.Egress),
		answers(control.Correlate, s.session.Correlate),
		answers(control.FindSensitiveData, s.session.SensitiveData),
		answers(control.FindErrors, s.session.Errors),
		answers(control.ListRetries, s.session.Retries),
		answers(control.ListConnections, s.session.Connections),
		answers(control.ExportCalls, s.session.ExportCalls),
		answers(control.ExportPolicy, s.session.ExportPolicy),
		answers(control.ListDatabases, s.session.ListDatabases),
		answers(control.GetDataBoundaries, s.session.GetDataBoundaries),
		answers(control.GetRawCapture, s.session.GetRawCapture),
		answers(control.GetL7DataBoundaries, s.session.GetL7DataBoundaries),
		answers(control.GetDissectionStatus, s.session.GetDissectionStatus),
		answers(control.EnableDissection, s.session.EnableDissection),
		answers(control.DisableDissection, s.session.DisableDissection),
		answers(control.CreateSnapshot, s.session.CreateSnapshot),
		answers(control.ListSnapshots, s.session.ListSnapshots),
		answers(control.GetSnapshot, s.session.GetSnapshot),
		answers(control.DeleteSnapshot, s.session.DeleteSnapshot),
		answers(control.ExportSnapshotPCAP, s.session.ExportSnapshotPCAP),
		answers(control.StartDissection, s.session.StartDissection),
		answers(control.GetDissectionJob, s.session.GetDissectionJob),
		answers(control.ListDissections, s.session.ListDissections),
		answers(control.StopDissection, s.session.StopDissection),
		answers(control.DeleteDissection, s.session.DeleteDissection),
		answers(control.CaptureTraffic, s.session.CaptureTraffic),
		answers(control.ExportPCAP, s.session.ExportPCAP),
		tells(control.BaselineRecord, s.session.RecordBaseline),
		tells(control.BaselineCompare, s.session.CompareBaseline),
		tells(control.BaselineAccept, s.session.AcceptBaseline),
		looks(control.BaselineList, s.session.ListBaselines),
		looks(control.WireDiff, s.session.WireDiff),
		looks(control.Flakes, s.session.Flakes),
		answers(control.ChecksSuggest, s.session.SuggestChecks),
		answers(control.Bundle, s.session.Bundle),
		tells(control.ReplayRun, s.session.Replay),
		answers(control.FaultSet, s.session.SetFault),
		looks(control.FaultList, s.session.Faults),
		answers(control.FaultClear, s.session.ClearFaults),
		tells(control.Method[control.DownRequest, none]{Name: "down"}, s.takeDown),
	}
}

// none is a request or an answer that says nothing.
type none = struct{}

// method is one thing that the daemon does.
type method struct {
	name            string
	request, answer reflect.Type
	do              func(ctx context.Context, request []byte, tell func(control.Event)) (any, error)
}

// tells is a method that takes long and tells of what happens meanwhile.
func tells[Request, Answer any](m control.Method[Request, Answer], do func(context.Context, Request, func(control.Event)) (*Answer, error)) method {
	return method{
		name: m.Name, request: reflect.TypeFor[Request](), answer: reflect.TypeFor[Answer](),
		do: func(ctx context.Context, request []byte, tell func(control.Event)) (any, error) {
			var r Request
			if err := json.Unmarshal(request, &r); err != nil {
				return nil, unreadable(err)
			}
			a, err := do(ctx, r, tell)
			if err != nil {
				return nil, err
			}
			return a, nil
		},
	}
}

// answers is a method that only answers.
func answers[Request, Answer any](m control.Method[Request, Answer], do func(context.Context, Request) (*Answer, error)) method {
	return tells(m, func(ctx context.Context, r Request, _ func(control.Event)) (*Answer, error) { return do(ctx, r) })
}

// looks is one that is done at once.
func looks[Request, Answer any](m control.Method[Request, Answer], do func(Request) (*Answer, error)) method {
	return tells(m, func(_ context.Context, r Request, _ func(control.Event)) (*Answer, error) { return do(r) })
}

// unreadable says what is wrong with a request, by the names of its JSON.
func unreadable(err error) *control.Error {
	what := "the request is no JSON: " + err.Error()
	var mismatch *json.UnmarshalTypeError
	if errors.As(err, &mismatch) {
		what = cmpName(mismatch.Field) + " is " + article(mismatch.Value) + ", want " + article(kindName(mismatch.Type))
	}
	return control.Usagef("docs/rest.md and /openapi.json say what each request takes", what)
}

func cmpName(field string) string {
	if field == "" {
		return "the request"
	}
	return field
}

// kindName is what JSON calls a Go type.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindName(t.Elem())
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "whole number"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Slice, reflect.Array:
		return "list"
	default:
		return "object"
	}
}

func article(noun string) string {
	switch {
	case noun == "text", noun == "true or false":
		return noun
	case noun == "string":
		return "text"
	case strings.HasPrefix(noun, "number "): // "number 1.5"
		return "the " + noun
	case noun == "array":
		return "a list"
	case noun == "object":
		return "an object"
	case noun == "bool":
		return "true or false"
	default:
		return "a " + noun
	}
}

func (s *server) status(context.Context, none, func(control.Event)) (*control.Status, error) {
	st := s.session.Status()
	s.faceMu.Lock()
	defer s.faceMu.Unlock()
	if s.face != nil {
		st.URL = s.face.url
	}
	return st, nil
}

func (s *server) capture(ctx context.Context, _ none, _ func(control.Event)) (*control.CaptureStatus, error) {
	return s.session.Capture(ctx)
}

func (s *server) doctor(ctx context.Context, _ none, _ func(control.Event)) (*control.DoctorAnswer, error) {
	return s.session.Doctor(ctx), nil
}

// exported adds where a file that was exported can be had over TCP.
func (s *server) exported(r control.FileRequest) (*control.FileAnswer, error) {
	a, err := s.session.File(r)
	if err != nil {
		return nil, err
	}
	s.faceMu.Lock()
	defer s.faceMu.Unlock()
	if s.face != nil {
		a.URL = s.face.url + control.FilesPath + path.Base(a.Path)
	}
	return a, nil
}

func (s *server) follow(_ context.Context, r control.FollowRequest, _ func(control.Event)) (*none, error) {
	s.session.Follow(r.On)
	return &none{}, nil
}

// events streams every event until the client goes away.
func (s *server) events(ctx context.Context, _ none, tell func(control.Event)) (*none, error) {
	stop := s.session.Listen(tell)
	defer stop()
	<-ctx.Done()
	return &none{}, nil
}

// takeDown ends the session and answers when nothing is left of it.
func (s *server) takeDown(_ context.Context, r control.DownRequest, _ func(control.Event)) (*none, error) {
	s.remove.Store(&r)
	s.end()
	<-s.downSignal()
	if s.closed != nil {
		return nil, &control.Error{What: s.closed.Error(), Hint: "devloop down again; it names what is left", Exit: control.ExitEnvironment}
	}
	return &none{}, nil
}
