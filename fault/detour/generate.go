package detour

//go:generate go tool bpf2go -tags linux -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -go-package detour -cflags "-O2 -g -mcpu=v3 -Wall -Werror -I../../capture/tap/bpf" -type end program bpf/detour.bpf.c
