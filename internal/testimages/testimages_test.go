package testimages

import "testing"

func TestLibraryOf(t *testing.T) {
	for line, want := range map[string]string{
		"\tlinux-vdso.so.1 (0x00007ffd8a5f2000)\n":                              "",
		"\tlibz.so.1 => /lib/x86_64-linux-gnu/libz.so.1 (0x00007f31134ba000)\n": "/lib/x86_64-linux-gnu/libz.so.1",
		"\t/lib64/ld-linux-x86-64.so.2 (0x00007f3113527000)\n":                  "/lib64/ld-linux-x86-64.so.2",
		"\tlibmissing.so => not found\n":                                        "",
		"\tstatically linked\n":                                                 "",
	} {
		got, ok := libraryOf(line)
		if !ok {
			got = ""
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}
