package redact

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/devloop-io/devloop/traffic"
)

// TestRedis checks that nothing of a Redis call that opens a door is kept.
func TestRedis(t *testing.T) {
	t.Parallel()
	r := New(testKey, Options{})
	cases := []struct {
		name   string
		in     traffic.Redis
		secret string
		places []string
	}{
		{"auth", traffic.Redis{Command: "AUTH", Args: []string{"sesame"}}, "sesame", []string{"request.argument"}},
		{"auth with a user", traffic.Redis{Command: "AUTH", Args: []string{"ann", "sesame"}}, "sesame", []string{"request.argument"}},
		{"hello", traffic.Redis{Command: "HELLO", Args: []string{"3", "auth", "ann", "sesame", "SETNAME", "x"}}, "sesame", []string{"request.argument"}},
		{"acl", traffic.Redis{Command: "ACL", Args: []string{"SETUSER", "ann", "on", ">sesame", "~*"}}, "sesame", []string{"request.argument"}},
		{"config", traffic.Redis{Command: "CONFIG", Args: []string{"set", "requirepass", "sesame"}}, "sesame", []string{"request.argument"}},
		{"config get", traffic.Redis{Command: "CONFIG", Args: []string{"GET", "requirepass"}, Reply: `{"requirepass": "sesame"}`}, "sesame", []string{"response.reply"}},
		{"migrate", traffic.Redis{Command: "MIGRATE", Args: []string{"h", "1", "k", "0", "9", "AUTH2", "ann", "sesame"}}, "sesame", []string{"request.argument"}},
		{"field", traffic.Redis{Command: "HSET", Args: []string{"user:1", "name", "ann", "password", "sesame"}}, "sesame", []string{"request.argument"}},
		{"field's value", traffic.Redis{Command: "HGETALL", Key: "user:1", Args: []string{"user:1"}, Reply: `{"name": "ann", "password": "sesame"}`}, "sesame", []string{"response.reply:password"}},
		{"key", traffic.Redis{Command: "SET", Key: "user:1:password", Args: []string{"user:1:password", "sesame"}, Reply: "OK"}, "sesame", []string{"request.argument"}},
		{"key's value", traffic.Redis{Command: "GET", Key: "user:1:password", Args: []string{"user:1:password"}, Reply: "sesame"}, "sesame", []string{"response.reply"}},
		{"document", traffic.Redis{Command: "SET", Key: "user:1", Args: []string{"user:1", `{"token":"sesame"}`}}, "sesame", []string{"request.argument:token"}},
	}
	for _, x := range cases {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			c := &traffic.Call{Protocol: traffic.ProtoRedis, Method: x.in.Command, Redis: &x.in}
			r.Call(c)
			all := strings.Join(x.in.Args, " ") + x.in.Reply + x.in.Error
			if strings.Contains(all, x.secret) || !strings.Contains(all, "[redacted ") {
				t.Errorf("kept %q", all)
			}
			var places []string
			for _, k := range c.Credentials {
				places = append(places, k.Place)
			}
			if diff := cmp.Diff(x.places, places); diff != "" {
				t.Errorf("places (-want +got):\n%s", diff)
			}
			r.Call(c)
			if again := strings.Join(x.in.Args, " ") + x.in.Reply + x.in.Error; again != all {
				t.Errorf("a second time: %q, was %q", again, all)
			}
		})
	}
}

// TestRedisPackets masks passwords on the wire.
func TestRedisPackets(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"*2\r\n$4\r\nAUTH\r\n$6\r\nsesame\r\n", "*3\r\n$4\r\nauth\r\n$3\r\nann\r\n$6\r\nsesame\r\n",
		"*5\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$3\r\nann\r\n$6\r\nsesame\r\n"} {
		if got := New(testKey, Options{}).Text(in); strings.Contains(got, "sesame") {
			t.Errorf("kept %q", got)
		}
	}
}
