package main

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// A bar is a pair of values side by side.
type bar struct {
	label string
	a, b  float64
}

var (
	ours   = color.RGBA{R: 0x1f, G: 0x6f, B: 0xb2, A: 0xff}
	theirs = color.RGBA{R: 0xb8, G: 0xb8, B: 0xb8, A: 0xff}
)

// charts draws the report into a folder.
func (r *report) charts(folder string) error {
	var rates, costs, beside []bar
	for _, res := range r.besideOthers() {
		if res.Error != "" || res.Clients != at && (res.Size == 0 || res.Clients != 1) {
			continue
		}
		label := fmt.Sprintf("%s, %s, %d", res.Work, res.Auth, res.Clients)
		if res.Work == nameToken {
			label = "token, beside bcrypt and RS256"
		}
		a, o := res.Median["berth"], res.other()
		rates = append(rates, bar{label, a.Rate, o.Rate})
		costs = append(costs, bar{label, a.CPU.Seconds() * 1e6, o.CPU.Seconds() * 1e6})
		if n, ok := res.Median["nginx"]; ok {
			beside = append(beside, bar{label, a.Rate, n.Rate})
		}
	}
	for _, l := range r.Limits {
		label := fmt.Sprintf("%s, wrk, %d", l.Work, l.Clients)
		size := float64(l.Size)
		beside = append(beside, bar{label, l.Median["berth"].Bytes / size, l.Median["nginx"].Bytes / size})
	}
	for _, c := range []struct {
		file, title, axis, other string
		bars                     []bar
	}{
		{"performance-rate.svg", "Work done (more is better)", "a second, logarithmic", "Distribution", rates},
		{"performance-cpu.svg", "Processor time of the server (less is better)", "µs for one, logarithmic", "Distribution", costs},
		{"performance-nginx.svg", "Beside nginx (more is better)", "a second, logarithmic", "nginx", beside},
	} {
		if len(c.bars) == 0 {
			continue
		}
		if err := draw(filepath.Join(folder, c.file), c.title, c.axis, c.other, c.bars); err != nil {
			return fmt.Errorf("draw %s: %w", c.file, err)
		}
	}
	return nil
}

// draw makes a chart of horizontal bars, the first on top.
func draw(file, title, axis, other string, bars []bar) error {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = title, axis
	low := lowest(bars)
	a, b := make(plotter.Values, len(bars)), make(plotter.Values, len(bars))
	labels := make([]string, len(bars))
	for i, v := range bars {
		j := len(bars) - 1 - i // the axis goes up
		a[j], b[j], labels[j] = height(v.a, low), height(v.b, low), v.label
	}
	const width = vg.Length(6)
	for i, set := range []struct {
		name   string
		values plotter.Values
		fill   color.Color
	}{{"berth", a, ours}, {other, b, theirs}} {
		c, err := plotter.NewBarChart(set.values, width)
		if err != nil {
			return err
		}
		c.Horizontal, c.Color, c.LineStyle.Width = true, set.fill, 0
		c.Offset = width * vg.Length(0.5-float64(i))
		p.Add(c)
		p.Legend.Add(set.name, c)
	}
	p.Legend.Top = true
	p.Legend.XOffs = vg.Length(-4)
	p.NominalY(labels...)
	p.X.Min = 0
	p.X.Max = math.Ceil(p.X.Max) + 1 // room for the legend
	p.X.Tick.Marker = plot.TickerFunc(func(lo, hi float64) []plot.Tick { return decades(low, hi) })
	return p.Save(9*vg.Inch, vg.Length(len(bars))*18+80, file)
}

// lowest returns the power of ten below all values.
func lowest(bars []bar) float64 {
	low := math.Inf(1)
	for _, v := range bars {
		for _, x := range []float64{v.a, v.b} {
			if x > 0 {
				low = min(low, math.Floor(math.Log10(x)))
			}
		}
	}
	if math.IsInf(low, 1) {
		return 0
	}
	return low - 0.5 // so that the smallest is seen
}

func height(v, low float64) float64 {
	if v <= 0 {
		return 0
	}
	return math.Log10(v) - low
}

func decades(low, hi float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Ceil(low); e-low <= hi; e++ {
		ticks = append(ticks, plot.Tick{Value: e - low, Label: strconv.FormatFloat(math.Pow(10, e), 'g', -1, 64)})
	}
	return ticks
}
