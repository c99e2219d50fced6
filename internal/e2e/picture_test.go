package e2e

import (
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// Pictures that tests take are compared with those of the documentation, loosely: where something stands and how bright it is there, by
// fields as large as a line of text with its neighbours. So what a clock or a figure says makes no difference, nor another font; an empty
// window, another view or a part that is missing does.
const (
	pictureField = 60  // pixels a side
	alikeFrom    = 0.7 // the same view a while later is above 0.9, an empty one 0, another one below 0.5
)

// looksLike compares a picture with the one of the documentation of that name.
func looksLike(t testing.TB, got image.Image, name string) {
	t.Helper()
	if a := likeness(got, docsPicture(t, name)); a < alikeFrom {
		t.Errorf("%s is like the picture in docs/images to %.2f, want %.2f: look at both, and take it anew if the new one is right", name, a, alikeFrom)
	}
}

// docsPicture is the picture of the documentation of that name.
func docsPicture(t testing.TB, name string) image.Image {
	t.Helper()
	return decode(t, filepath.Join(root(), "docs", "images", name+".png"))
}

// likeness is alike, and 0 where there is no picture, or one of another size.
func likeness(got, want image.Image) float64 {
	if got == nil || got.Bounds() != want.Bounds() {
		return 0
	}
	return alike(got, want)
}

func decode(t testing.TB, file string) image.Image {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	picture, err := png.Decode(f)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return picture
}

// alike is how far brightness, and contrast, of the fields of two pictures go together: their correlation, the lesser of the two. What is
// the same all over goes together with nothing.
func alike(a, b image.Image) float64 {
	brightA, contrastA := fields(a)
	brightB, contrastB := fields(b)
	return min(correlation(brightA, brightB), correlation(contrastA, contrastB))
}

// fields are mean and standard deviation of the brightness of each field.
func fields(p image.Image) (bright, contrast []float64) {
	for y := p.Bounds().Min.Y; y < p.Bounds().Max.Y; y += pictureField {
		for x := p.Bounds().Min.X; x < p.Bounds().Max.X; x += pictureField {
			sum, squares, n := 0.0, 0.0, 0.0
			for j := y; j < min(y+pictureField, p.Bounds().Max.Y); j += 3 { // a ninth of the pixels is enough
				for i := x; i < min(x+pictureField, p.Bounds().Max.X); i += 3 {
					r, g, b, _ := p.At(i, j).RGBA()
					v := float64(r+g+b) / (3 * 0xffff)
					sum, squares, n = sum+v, squares+v*v, n+1
				}
			}
			mean := sum / n
			bright, contrast = append(bright, mean), append(contrast, math.Sqrt(max(0, squares/n-mean*mean)))
		}
	}
	return bright, contrast
}

func correlation(a, b []float64) float64 {
	if len(a) != len(b) || len(a) == 0 {
		return 0
	}
	var meanA, meanB float64
	for i := range a {
		meanA, meanB = meanA+a[i]/float64(len(a)), meanB+b[i]/float64(len(b))
	}
	var aa, bb, ab float64
	for i := range a {
		x, y := a[i]-meanA, b[i]-meanB
		aa, bb, ab = aa+x*x, bb+y*y, ab+x*y
	}
	if aa < 1e-9 || bb < 1e-9 {
		return 0 // the same all over
	}
	return ab / math.Sqrt(aa*bb)
}

// TestPictures: the comparison takes what is a little different, and nothing that is empty, half empty, or another view.
func TestPictures(t *testing.T) {
	groups := [][]string{{"editor-pass", "editor-fail"}, {"editor-dashboard"}, {"dashboard-map"}, {"dashboard-call"}, {"dashboard-check"}}
	pictures := map[string]image.Image{}
	for _, g := range groups {
		for _, name := range g {
			pictures[name] = docsPicture(t, name)
		}
	}
	for i, g := range groups {
		for _, name := range g {
			p := pictures[name]
			if a := alike(p, moved(p, 2, 3)); a < alikeFrom {
				t.Errorf("%s, moved by some pixels: %.2f", name, a)
			}
			for _, grey := range []uint8{0, 0x1f, 0xff} {
				if a := alike(p, covered(p, p.Bounds(), grey)); a >= alikeFrom {
					t.Errorf("%s and an empty window: %.2f", name, a)
				}
			}
			half := p.Bounds()
			half.Min.X = half.Max.X / 3
			if a := alike(p, covered(p, half, 0x1f)); a >= alikeFrom {
				t.Errorf("%s and a window of which two thirds are empty: %.2f", name, a)
			}
			for j, others := range groups {
				for _, other := range others {
					if a := alike(p, pictures[other]); i != j && a >= alikeFrom {
						t.Errorf("%s and %s: %.2f", name, other, a)
					}
				}
			}
		}
	}
}

// moved is a picture some pixels further to the right and down.
func moved(p image.Image, x, y int) image.Image {
	out := image.NewRGBA(p.Bounds())
	draw.Draw(out, out.Bounds(), p, p.Bounds().Min, draw.Src)
	draw.Draw(out, out.Bounds().Add(image.Pt(x, y)), p, p.Bounds().Min, draw.Src)
	return out
}

// covered is a picture with a part in one grey.
func covered(p image.Image, part image.Rectangle, grey uint8) image.Image {
	out := image.NewRGBA(p.Bounds())
	draw.Draw(out, out.Bounds(), p, p.Bounds().Min, draw.Src)
	draw.Draw(out, part, image.NewUniform(color.Gray{grey}), image.Point{}, draw.Src)
	return out
}
