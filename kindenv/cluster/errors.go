package cluster

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

// Reason says what kind of trouble an [Error] is, so that faces can choose an exit code and tests need no words.
type Reason string

// The reasons.
const (
	NoEngine    Reason = "no-engine"     // no container engine answers
	NoRights    Reason = "no-rights"     // an engine is there and refuses us
	DiskFull    Reason = "disk-full"     // the engine has no room left
	NoImage     Reason = "no-image"      // an image is neither here nor to be had
	BadConfig   Reason = "bad-config"    // the kind configuration, or a name
	Taken       Reason = "taken"         // a cluster has this name already
	Timeout     Reason = "timeout"       // not ready in time
	NotFound    Reason = "not-found"     // no such cluster or context
	NotOurs     Reason = "not-ours"      // devloop did not make it
	NotLocal    Reason = "not-local"     // the context does not look local
	Unreachable Reason = "unreachable"   // the API server does not answer, or refuses us
	Forbidden   Reason = "forbidden"     // the user may not do what is needed
	NoAgent     Reason = "no-agent"      // no node agent runs in it
	NotKind     Reason = "not-kind"      // the cluster's nodes are no containers of this engine
	Failed      Reason = "create-failed" // a step of the creation failed
)

// Usage reports whether what was asked is wrong, rather than the machine.
func (r Reason) Usage() bool {
	switch r {
	case BadConfig, Taken, NotFound, NotOurs, NotLocal, NotKind:
		return true
	}
	return false
}

// Error says what failed and what to type next.
type Error struct {
	Reason Reason
	What   string
	Hint   string
	Err    error // what lies beneath, where there is something
}

// Error is the sentence alone; faces print the hint apart.
func (e *Error) Error() string { return e.What }

// Unwrap returns what lies beneath.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether err is an [Error] for this reason.
func Is(err error, reason Reason) bool {
	var e *Error
	return errors.As(err, &e) && e.Reason == reason
}

var noSuchImage = regexp.MustCompile(`(?i)pull access denied|manifest( for \S+)? (unknown|not found)|repository does not exist|no such image`)

// engineError explains what a command of the engine said. Nil where it is nothing that we know.
func engineError(err error) *Error {
	var output string
	var ran *commandError
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, exec.ErrNotFound):
		return &Error{Reason: NoEngine, What: "no container engine: there is no docker command on the PATH",
			Hint: "install Docker (or Docker Desktop, colima, Rancher Desktop), or use the local environment: devloop run --env local", Err: err}
	case errors.As(err, &ran):
		output = ran.output
	default:
		output = kindOutput(err)
	}
	low := strings.ToLower(output + " " + err.Error())
	switch {
	case strings.Contains(low, "permission denied") && (strings.Contains(low, "docker api") || strings.Contains(low, "docker daemon") || strings.Contains(low, "docker.sock")):
		return &Error{Reason: NoRights, What: "the container engine refuses us: " + firstLine(output),
			Hint: "sudo usermod -aG docker $USER, then log in again; or run as root", Err: err}
	case strings.Contains(low, "cannot connect to the docker daemon"), strings.Contains(low, "failed to connect to the docker api"), strings.Contains(low, "error during connect"):
		return &Error{Reason: NoEngine, What: "no container engine answers: " + firstLine(output), Hint: "start Docker; `docker info` says whether it answers", Err: err}
	case strings.Contains(low, "no space left on device"):
		return &Error{Reason: DiskFull, What: "the container engine's disk is full: " + lastLine(output), Hint: "docker system df shows what takes the room, docker system prune frees it", Err: err}
	}
	return nil
}

// imageError explains why a node image cannot be had.
func imageError(image string, err error) *Error {
	if known := engineError(err); known != nil {
		return known
	}
	output := err.Error()
	var ran *commandError
	if errors.As(err, &ran) {
		output = ran.output
	}
	what := fmt.Sprintf("node image %s is not on this machine, and pulling it failed: %s", image, lastLine(output))
	if noSuchImage.MatchString(output) {
		what = fmt.Sprintf("there is no node image %s, neither on this machine nor in its registry: %s", image, lastLine(output))
	}
	return &Error{Reason: NoImage, What: what, Hint: "name one that is here (docker images lists them): --node-image NAME, or environment.kind.nodeImage in devloop.yaml", Err: err}
}

// createError explains why making a cluster failed; step is where.
func createError(ctx context.Context, name, step string, err error) error {
	var known *Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return &Error{Reason: Timeout, What: fmt.Sprintf("cluster %s was not there in time; %s had not ended", name, step), Hint: "give it longer: --timeout, --wait", Err: ctx.Err()}
	case ctx.Err() != nil:
		return ctx.Err()
	}
	if known := engineError(err); known != nil {
		return known
	}
	output := kindOutput(err)
	if strings.Contains(err.Error(), "already exist for a cluster with the name") {
		return taken(name)
	}
	if step == "" { // nothing had begun: kind did not like what it was asked
		return &Error{Reason: BadConfig, What: "the kind configuration: " + firstLine(err.Error()), Hint: "https://kind.sigs.k8s.io/docs/user/configuration/", Err: err}
	}
	what := fmt.Sprintf("create cluster %s: %s: %s", name, step, firstLine(err.Error()))
	if output != "" {
		what += "\n" + telling(output)
	}
	return &Error{Reason: Failed, What: what, Hint: "devloop doctor; the engine's own log may say more", Err: err}
}

func taken(name string) *Error {
	return &Error{Reason: Taken, What: fmt.Sprintf("there is a cluster named %s already", name),
		Hint: fmt.Sprintf("use it as it is (devloop cluster status --name %s), delete it, or choose another --name", name)}
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(line)
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return strings.TrimSpace(text[strings.LastIndexByte(text, '\n')+1:])
}

var complaint = regexp.MustCompile(`(?i)^\s*(\[?error|failed|unable|couldn't|could not|unknown|invalid)`)

// telling are the lines of a long output that complain: kubeadm's ends in a stack. The end, where there are none.
func telling(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if complaint.MatchString(line) && len(lines) < 12 {
			lines = append(lines, strings.TrimRight(line, "\r\n"))
		}
	}
	if len(lines) == 0 {
		return tail(output, 12)
	}
	return strings.Join(lines, "\n")
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
