package tap

//go:generate go tool bpf2go -tags linux -cc clang-14 -strip llvm-strip-14 -target amd64,arm64 -go-package tap -cflags "-O2 -g -mcpu=v3 -Wall -Werror -Ibpf" -type event -type lost_key program bpf/tap.bpf.c
