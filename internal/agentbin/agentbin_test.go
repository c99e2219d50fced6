package agentbin_test

import (
	"bytes"
	"debug/elf"
	"testing"

	"github.com/devloop-io/devloop/internal/agentbin"
	"github.com/devloop-io/devloop/internal/testenv"
)

func TestBinaryIsStaticAndOfItsProcessor(t *testing.T) {
	t.Parallel()
	testenv.NeedsFull(t) // compiles the standard library for both
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		b, err := agentbin.Binary(t.Context(), agentbin.Agent, arch)
		if err != nil {
			t.Fatal(err)
		}
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if libs, _ := f.ImportedLibraries(); f.Machine != machine || len(libs) > 0 || f.Section(".interp") != nil {
			t.Errorf("%s: machine %v, libraries %v", arch, f.Machine, libs)
		}
		t.Logf("%s: %.1f MiB", arch, float64(len(b))/(1<<20))
	}
	if _, err := agentbin.Binary(t.Context(), agentbin.Agent, "riscv64"); err == nil {
		t.Error("there is an agent for riscv64")
	}
}
