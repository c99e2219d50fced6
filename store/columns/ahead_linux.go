package columns

import "golang.org/x/sys/unix"

// willNeed has the kernel read a stretch; where it does not, reading takes longer, and no more.
func (s *source) willNeed(at span) {
	_ = unix.Fadvise(int(s.f.Fd()), at.at, at.size, unix.FADV_WILLNEED)
}
