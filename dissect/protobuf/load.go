package protobuf

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
)

// Load reads descriptions of services: files in the protobuf language (.proto), folders of them, which are also where their
// imports begin, and descriptor sets (`protoc --descriptor_set_out --include_imports`, `buf build -o x.binpb`). What a single file
// imports is looked for in its folder and the folders above.
func Load(ctx context.Context, paths ...string) (*Types, error) {
	t := &Types{methods: map[string][2]*message{}}
	for _, p := range paths {
		if err := t.load(ctx, p); err != nil {
			return nil, fmt.Errorf("read protobuf descriptions from %s: %w", p, err)
		}
	}
	return t, nil
}

func (t *Types) load(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		names, err := sources(path)
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("no .proto file in it")
		}
		if err != nil {
			return err
		}
		return t.compile(ctx, &protocompile.SourceResolver{ImportPaths: []string{path}}, names...)
	case strings.HasSuffix(path, ".proto"):
		return t.compile(ctx, &protocompile.SourceResolver{ImportPaths: above(path)}, filepath.Base(path))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return t.descriptors(b)
}

// sources are the .proto files below a folder, relative to it.
func sources(dir string) (names []string, err error) {
	err = fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(name, ".proto") {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// above is a file's folder and those around it.
func above(file string) (dirs []string) {
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return []string{filepath.Dir(file)}
	}
	for range 8 {
		dirs = append(dirs, dir)
		up := filepath.Dir(dir)
		if up == dir {
			break
		}
		dir = up
	}
	return dirs
}

// LoadFrom reads one file of the protobuf language or a descriptor set, named by its path with slashes, and what it imports, by
// a function; imports are looked for in its folder and the folders above. Several goroutines may call the function.
func LoadFrom(ctx context.Context, read func(name string) ([]byte, error), name string) (*Types, error) {
	t := &Types{methods: map[string][2]*message{}}
	err := t.loadFrom(ctx, read, name)
	if err != nil {
		return nil, fmt.Errorf("read protobuf descriptions from %s: %w", name, err)
	}
	return t, nil
}

func (t *Types) loadFrom(ctx context.Context, read func(name string) ([]byte, error), name string) error {
	if !strings.HasSuffix(name, ".proto") {
		b, err := read(name)
		if err != nil {
			return err
		}
		return t.descriptors(b)
	}
	dirs := []string{path.Dir(name)}
	for dirs[len(dirs)-1] != "." {
		dirs = append(dirs, path.Dir(dirs[len(dirs)-1]))
	}
	open := func(name string) (io.ReadCloser, error) {
		b, err := read(filepath.ToSlash(name))
		return io.NopCloser(bytes.NewReader(b)), err
	}
	return t.compile(ctx, &protocompile.SourceResolver{ImportPaths: dirs, Accessor: open}, path.Base(name))
}

func (t *Types) compile(ctx context.Context, from *protocompile.SourceResolver, names ...string) error {
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(from)}
	files, err := c.Compile(ctx, names...)
	if err != nil {
		return err
	}
	all := &protoregistry.Files{}
	for _, f := range files {
		if err := register(all, f); err != nil {
			return err
		}
	}
	t.addAll(all)
	return nil
}

// register adds a file with what it imports.
func register(all *protoregistry.Files, f protoreflect.FileDescriptor) error {
	if _, err := all.FindFileByPath(f.Path()); err == nil {
		return nil
	}
	for i := range f.Imports().Len() {
		if err := register(all, f.Imports().Get(i).FileDescriptor); err != nil {
			return err
		}
	}
	return all.RegisterFile(f)
}

func (t *Types) addAll(files *protoregistry.Files) {
	r := dynamicpb.NewTypes(files)
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		t.add(f, r)
		return true
	})
}

// descriptors takes a FileDescriptorSet.
func (t *Types) descriptors(b []byte) error {
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(b, &set); err != nil {
		return fmt.Errorf("no .proto file, and no descriptor set: %w", err)
	}
	files, err := protodesc.NewFiles(&set)
	if err != nil {
		return err
	}
	t.addAll(files)
	return nil
}
