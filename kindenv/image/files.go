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

// As is the image under another name. It holds nothing of its own: close the first one, after both were loaded.
func (i *Image) As(ref string) (*Image, error) {
	name, err := FullName(ref)
	if err != nil {
		return nil, err
	}
	return &Image{Name: name, Digest: i.Digest, Notes: i.Notes, image: i.image}, nil
}
