package fastpath

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/httpstream"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"

	"github.com/devloop-io/devloop/internal/supervise"
)

// Supervisor is where the supervisor lies in a container, unless a Container says otherwise.
const Supervisor = supervise.DefaultDir + "/supervise"

// Container is one container that runs the supervisor.
type Container struct {
	Namespace string
	Pod       string
	UID       string // of the pod; another pod of the same name knows nothing of what was pushed before
	Name      string
	Command   string // of the supervisor; Supervisor when empty
	Dir       string // its folder; supervise.DefaultDir when empty
}

// String is namespace/pod/container.
func (c Container) String() string { return c.Namespace + "/" + c.Pod + "/" + c.Name }

// Program is a build on this machine.
type Program struct {
	supervise.Switch        // without Sum and Size, which Load fills in
	Path             string // of the file
}

// Load reads which program it is. The name of the process is the file's unless it is set.
func (p *Program) Load() error {
	f, err := os.Open(p.Path)
	if err != nil {
		return fmt.Errorf("read the program to push: %w", err)
	}
	defer f.Close()
	sum := sha256.New()
	if p.Size, err = io.Copy(sum, f); err != nil {
		return fmt.Errorf("read the program to push: %w", err)
	}
	p.Sum = hex.EncodeToString(sum.Sum(nil))
	if p.Name == "" {
		p.Name = filepath.Base(p.Path)
	}
	return nil
}

// Client pushes to the containers of one cluster. It may be used from any goroutine.
type Client struct {
	config *rest.Config
	rest   rest.Interface

	mu   sync.Mutex
	sent map[string]string // program that a container was sent last, by pod UID and container
}

// New makes a client. The settings should have no timeout: a watch lasts.
func New(config *rest.Config) (*Client, error) {
	set, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("speak to the cluster: %w", err)
	}
	return &Client{config: config, rest: set.CoreV1().RESTClient(), sent: map[string]string{}}, nil
}

// Forbidden says that commands may not be run in containers here.
type Forbidden struct{ Err error }

// Error says what the API server said.
func (e *Forbidden) Error() string { return "commands may not be run in pods here: " + e.Err.Error() }

// Unwrap is the API server's answer.
func (e *Forbidden) Unwrap() error { return e.Err }

// Exited is a program that ended before it was ready; NotReady is one that runs and is not.
type (
	Exited   struct{ supervise.Event }
	NotReady struct{ What string }
)

// Error says how it ended.
func (e *Exited) Error() string { return "the program " + e.How() + " before it was ready" }

// Error says what is missing.
func (e *NotReady) Error() string { return e.What }

// Push switches a container to a program and returns the event of its start once it is ready. Between the end of the
// old program and the start of the new one stopped is called, if there is one: it is the moment when nothing of either runs.
func (c *Client) Push(ctx context.Context, to Container, p Program, stopped func(context.Context) error) (supervise.Event, error) {
	key := to.UID + "/" + to.Name
	c.mu.Lock()
	known := c.sent[key] == p.Sum
	c.mu.Unlock()
	e, err := c.push(ctx, to, p, !known, stopped)
	if err == nil && e.Phase == supervise.PhaseMissing {
		e, err = c.push(ctx, to, p, true, stopped)
	}
	if err != nil {
		return e, fmt.Errorf("push build %s to %s: %w", p.Build, to, err)
	}
	c.mu.Lock()
	c.sent[key] = p.Sum
	c.mu.Unlock()
	return e, nil
}

// Has says that a container has a program already. Where it does not after all, it is sent.
func (c *Client) Has(there Container, p Program) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sent[there.UID+"/"+there.Name] = p.Sum
}

// push sends the program only where whole is set. Its event is that of the start, or missing.
func (c *Client) push(ctx context.Context, to Container, p Program, whole bool, stopped func(context.Context) error) (started supervise.Event, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	header := p.Switch
	var file io.Reader = strings.NewReader("")
	if whole {
		f, err := os.Open(p.Path)
		if err != nil {
			return started, err
		}
		defer f.Close()
		file = f
	} else {
		header.Size = 0
	}
	line, err := json.Marshal(header)
	if err != nil {
		return started, err
	}
	in, inWriter := io.Pipe()
	defer in.Close()
	proceed := make(chan struct{})
	go func() {
		_, err := io.Copy(inWriter, io.MultiReader(strings.NewReader(string(line)+"\n"), file))
		if err == nil {
			select {
			case <-proceed:
				_, err = io.WriteString(inWriter, supervise.Go)
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		inWriter.CloseWithError(err)
	}()
	var last supervise.Event
	var trouble error
	err = c.run(ctx, to, "push", in, func(e supervise.Event) {
		last = e
		switch e.Phase {
		case supervise.PhaseStopped:
			if stopped != nil {
				trouble = stopped(ctx)
			}
			if trouble != nil {
				cancel()
			}
			close(proceed)
		case supervise.PhaseStarted:
			started = e
		}
	})
	switch {
	case trouble != nil:
		return started, trouble
	case last.Phase == supervise.PhaseExited:
		return started, &Exited{last}
	case last.Phase == supervise.PhaseError && started.PID != 0:
		return started, &NotReady{last.What}
	case last.Phase == supervise.PhaseError:
		return started, errors.New(last.What)
	case err != nil:
		return started, err
	case last.Phase == supervise.PhaseMissing:
		return last, nil
	case last.Phase != supervise.PhaseReady:
		return started, fmt.Errorf("the supervisor was cut off after %q", last.Phase)
	}
	return started, nil
}

// Watch tells what runs in a container, and each change, until ctx or the container ends.
func (c *Client) Watch(ctx context.Context, of Container, tell func(supervise.Event)) error {
	in, inWriter := io.Pipe() // held open: its end is what ends the process in the container
	defer inWriter.Close()
	stop := context.AfterFunc(ctx, func() { inWriter.Close() })
	defer stop()
	err := c.run(ctx, of, "watch", in, tell)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("watch %s: %w", of, err)
	}
	return nil
}

// Now says what runs in a container.
func (c *Client) Now(ctx context.Context, of Container) (supervise.Event, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var first *supervise.Event
	err := c.Watch(ctx, of, func(e supervise.Event) {
		if first == nil {
			first = &e
			cancel()
		}
	})
	if first == nil {
		return supervise.Event{}, err
	}
	return *first, nil
}

const (
	maxStderr = 4 << 10
	maxEvent  = 64 << 10
)

// run runs one of the supervisor's commands in a container.
func (c *Client) run(ctx context.Context, in Container, verb string, stdin io.Reader, tell func(supervise.Event)) error {
	command, dir := in.Command, in.Dir
	if command == "" {
		command = Supervisor
	}
	if dir == "" {
		dir = supervise.DefaultDir
	}
	url := c.rest.Post().Resource("pods").Namespace(in.Namespace).Name(in.Pod).SubResource("exec").VersionedParams(&corev1.PodExecOptions{
		Container: in.Name, Command: []string{command, verb, dir}, Stdin: true, Stdout: true, Stderr: true,
	}, scheme.ParameterCodec).URL()
	ws, err := remotecommand.NewWebSocketExecutor(c.config, "GET", url.String())
	if err != nil {
		return err
	}
	spdy, err := remotecommand.NewSPDYExecutor(c.config, "POST", url)
	if err != nil {
		return err
	}
	either, err := remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
	if err != nil {
		return err
	}
	out, outWriter := io.Pipe()
	stderr := &head{max: maxStderr}
	read := make(chan error, 1)
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, maxEvent)
		for lines.Scan() {
			var e supervise.Event
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
				read <- fmt.Errorf("the supervisor said what is no event: %w", err)
				out.CloseWithError(err)
				return
			}
			tell(e)
		}
		read <- lines.Err()
	}()
	err = either.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: outWriter, Stderr: stderr})
	outWriter.CloseWithError(io.EOF)
	said := <-read
	switch text := strings.TrimSpace(stderr.String()); {
	case err == nil:
		return said
	case apierrors.IsForbidden(err):
		return &Forbidden{err}
	case text != "":
		return fmt.Errorf("%s (%w)", text, err)
	default:
		return err
	}
}

// head keeps the first bytes that are written to it.
type head struct {
	strings.Builder
	max int
}

// Write never fails.
func (h *head) Write(p []byte) (int, error) {
	if room := h.max - h.Len(); room > 0 {
		h.Builder.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
