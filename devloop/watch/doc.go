// Package watch says which files of a workspace changed: coalesced, without saves that changed nothing, and without
// losing any when the kernel's queue overflows or its watches run out.
//
// An event of the kernel is only a reason to look. What changed is found by comparing the file with what is remembered
// of it (size, time, hash of the content), when the file system has been at rest for a moment. So an editor that
// writes a temporary file and renames it, a formatter that saves twice, and a checkout of a thousand files all come as
// one batch of the paths that differ.
package watch
