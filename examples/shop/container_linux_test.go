package shop_test

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/daemon"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/moby/moby/client"
	"github.com/redis/go-redis/v9"
	"github.com/testcontainers/testcontainers-go"
	"github.com/testcontainers/testcontainers-go/wait"

	"github.com/devloop-io/devloop/internal/testenv"
)

const (
	testImage = "devloop.test/shop-cache:latest"
	testLabel = "devloop.dev/test"
)

// TestCacheInAContainer runs the shop's cache as users with a container engine have it: by testcontainers, from an
// image. The image is made here from this machine's own redis-server, so that nothing is pulled.
func TestCacheInAContainer(t *testing.T) {
	t.Setenv("TESTCONTAINERS_RYUK_DISABLED", "true") // its image cannot be had offline; the label below cleans up
	if os.Getenv("TESTCONTAINERS_HOST_OVERRIDE") == "" && os.Getenv("DOCKER_HOST") == "" {
		t.Setenv("TESTCONTAINERS_HOST_OVERRIDE", "127.0.0.1") // a machine that is a container itself would ask its gateway
	}
	engine, err := client.New(client.FromEnv)
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	_, err = engine.Ping(ctx, client.PingOptions{})
	testenv.NeedsEngine(t, err)
	server := testenv.NeedsProgram(t, "redis-server")

	removeLabelled(t, engine) // what a killed run left
	t.Cleanup(func() {
		removeLabelled(t, engine)
		if _, err := engine.ImageRemove(context.Background(), testImage, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	tag, err := name.NewTag(testImage)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := daemon.Write(tag, imageOf(t, server), daemon.WithContext(ctx), daemon.WithClient(engine)); err != nil {
		t.Fatal(err)
	}
	container, err := testcontainers.Run(ctx, testImage,
		testcontainers.WithExposedPorts("6379/tcp"),
		testcontainers.WithLabels(map[string]string{testLabel: "shop-cache"}),
		testcontainers.WithWaitStrategy(wait.ForListeningPort("6379/tcp").SkipInternalCheck())) // there is no shell in it
	if err != nil {
		t.Fatal(err)
	}
	address, err := container.Endpoint(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	cache := redis.NewClient(&redis.Options{Addr: address, Protocol: 2, DisableIdentity: true})
	defer cache.Close()
	if err := cache.Set(ctx, "cart:1", "teapot", time.Minute).Err(); err != nil {
		t.Fatal(err)
	}
	if got, err := cache.Get(ctx, "cart:1").Result(); err != nil || got != "teapot" {
		t.Errorf("the cache answers %q, %v, want teapot", got, err)
	}
	if left := labelled(t, engine); len(left) != 1 {
		t.Errorf("%d containers carry the label %s, want 1", len(left), testLabel)
	}
	removeLabelled(t, engine)
	if left := labelled(t, engine); len(left) != 0 {
		t.Errorf("%d containers are left", len(left))
	}
}

func labelled(t *testing.T, engine *client.Client) []string {
	t.Helper()
	found, err := engine.ContainerList(context.Background(), client.ContainerListOptions{All: true,
		Filters: client.Filters{}.Add("label", testLabel+"=shop-cache")})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, c := range found.Items {
		ids = append(ids, c.ID)
	}
	return ids
}

func removeLabelled(t *testing.T, engine *client.Client) {
	t.Helper()
	for _, id := range labelled(t, engine) {
		if _, err := engine.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true}); err != nil {
			t.Error(err)
		}
	}
}

// imageOf makes an image of a program and the libraries that it is linked with, and nothing else.
func imageOf(t *testing.T, program string) v1.Image {
	t.Helper()
	linked, err := exec.Command("ldd", program).CombinedOutput()
	if err != nil {
		t.Fatalf("ldd %s: %v\n%s", program, err, linked)
	}
	var files bytes.Buffer
	archive := tar.NewWriter(&files)
	for _, path := range append(regexp.MustCompile(`/\S+\.so\S*`).FindAllString(string(linked), -1), program) {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Clean(path)
		if path == program {
			name = "/redis-server"
		}
		if err := archive.WriteHeader(&tar.Header{Name: name[1:], Mode: 0o755, Size: int64(len(content)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := archive.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(files.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/redis-server", "--save", "", "--protected-mode", "no"}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	return image
}
