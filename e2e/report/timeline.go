package report

import (
	"fmt"
	"html/template"
	"strings"
	"time"
)

// timeline is the run as pictures: polylines and bars in the coordinates of an
// SVG of width by the heights below. A second is stretched to fill the width.
type timeline struct {
	Width, Height, LagHeight, FaultHeight int

	Acknowledged, Reads, Unknown, Lag template.HTMLAttr // points of polylines
	Most, MostLag                     string
	Bars                              []bar
	Ticks                             []tick
}

type bar struct {
	X, Width     float64
	RestX, Rest  float64 // the recovery after it
	Y            int
	Label, Class string
}

type tick struct {
	X     float64
	Label string
}

const (
	width, height, lagHeight = 1200, 180, 80
	row, rows                = 9, 8 // faults next to each other in time are drawn below each other
)

func newTimeline(r *Run) timeline {
	t := timeline{Width: width, Height: height, LagHeight: lagHeight, FaultHeight: row * rows}
	span := max(r.Length, time.Second)
	x := func(d time.Duration) float64 { return width * d.Seconds() / span.Seconds() }
	most, mostLag := int64(1), 1.0
	for _, s := range r.Series {
		most = max(most, s.Acknowledged, s.Reads)
		mostLag = max(mostLag, s.Lag)
	}
	line := func(of func(Second) float64, most float64, height int) template.HTMLAttr {
		var b strings.Builder
		for _, s := range r.Series {
			if v := of(s); v >= 0 {
				fmt.Fprintf(&b, "%.1f,%.1f ", x(time.Duration(s.At)*time.Second), float64(height)*(1-v/most))
			}
		}
		return template.HTMLAttr(`points="` + b.String() + `"`) //nolint:gosec // figures alone
	}
	t.Acknowledged = line(func(s Second) float64 { return float64(s.Acknowledged) }, float64(most), height)
	t.Reads = line(func(s Second) float64 { return float64(s.Reads) }, float64(most), height)
	t.Unknown = line(func(s Second) float64 { return float64(s.Unknown) }, float64(most), height)
	t.Lag = line(func(s Second) float64 { return s.Lag }, mostLag, lagHeight)
	t.Most, t.MostLag = fmt.Sprintf("%d/s", most), fmt.Sprintf("%.1f s", mostLag)
	for i, f := range r.Faults {
		b := bar{
			X: x(f.Began), Width: max(1, x(f.Healed-f.Began)), RestX: x(f.Healed), Rest: max(0, x(f.Recovered-f.Healed)), Y: row * (i % rows),
			Label: fmt.Sprintf("%d: %s %s, lasted %s, recovered after %s", f.Number, f.Fault, f.Target, seconds(f.Healed-f.Began), seconds(max(0, f.Recovery()))),
			Class: "fault",
		}
		if f.Error != "" {
			b.Class, b.Label = "fault failed", b.Label+": "+f.Error
		}
		t.Bars = append(t.Bars, b)
	}
	step := time.Minute
	for span/step > 20 {
		step *= 2
	}
	for at := step; at < span; at += step {
		t.Ticks = append(t.Ticks, tick{X: x(at), Label: at.String()})
	}
	return t
}
