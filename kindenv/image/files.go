package image

// Base are the files that programs expect on an otherwise empty image: users, a /tmp, and this machine's CA
// certificates where it has any.
func Base() []File {
	files := base()
	if c, ok := certificates(); ok {
		files = append(files, c)
	}
	return files
}
