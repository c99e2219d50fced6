package main

import (
	"fmt"
	"math"
	"strings"
)

// The picture's size and margins, in points.
const (
	width, height      = 640.0, 360.0
	left, right        = 60.0, 120.0
	top, bottom        = 20.0, 50.0
	smallest, greatest = 5.0, 320.0
)

var colours = []string{"#888888", "#4477aa", "#228833", "#ccbb44", "#ee6677"} // told apart by people who see few colours, too

// plot draws the curves as SVG.
func plot(curves []curve) string {
	x := func(n float64) float64 {
		return left + (math.Log(n)-math.Log(smallest))/(math.Log(greatest)-math.Log(smallest))*(width-left-right)
	}
	y := func(share float64) float64 { return height - bottom - share*(height-top-bottom) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12" role="img" aria-label="share of comparisons that call an endpoint slower, by calls">`+"\n", width, height)
	fmt.Fprintf(&b, `<rect width="%g" height="%g" fill="white"/>`+"\n", width, height)
	for _, share := range []float64{0, 0.25, 0.5, 0.75, 1} {
		fmt.Fprintf(&b, `<path d="M%g %.1fH%g" stroke="#ddd"/><text x="%g" y="%.1f" text-anchor="end">%.0f %%</text>`+"\n", left, y(share), width-right, left-6, y(share)+4, share*100)
	}
	for _, n := range sizes {
		fmt.Fprintf(&b, `<text x="%.1f" y="%g" text-anchor="middle">%d</text>`+"\n", x(float64(n)), height-bottom+18, n)
	}
	fmt.Fprintf(&b, `<text x="%g" y="%g" text-anchor="middle">calls of the new code</text>`+"\n", (left+width-right)/2, height-12)
	last := math.Inf(1)
	for i := len(curves) - 1; i >= 0; i-- {
		c := curves[i]
		var points []string
		for j, n := range c.ns {
			points = append(points, fmt.Sprintf("%.1f,%.1f", x(float64(n)), y(c.shares[j])))
		}
		fmt.Fprintf(&b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(points, " "), colours[i%len(colours)])
		at := y(c.shares[len(c.shares)-1])
		if !math.IsInf(last, 1) {
			at = max(at, last+14) // names do not lie on each other
		}
		last = at
		fmt.Fprintf(&b, `<text x="%g" y="%.1f" fill="%s">+%s slower</text>`+"\n", width-right+8, at+4, colours[i%len(colours)], c.name)
	}
	b.WriteString("</svg>\n")
	return b.String()
}
