package main

import (
	"fmt"
	"time"
)

// A goal is a figure that berth is to reach.
type goal struct {
	Work  string  `json:"work"`
	Want  string  `json:"want"`
	Have  string  `json:"have"`
	Met   bool    `json:"met"`
	Value float64 `json:"value"`
}

// at is the number of clients whose figures are judged, but for large layers.
const at = 8

// judge compares what was measured with the goals. What was not measured is
// not judged.
func (r *report) judge() {
	r.ratio(nameHead, basic, at, rate, 300)
	r.ownRate()
	r.ratio(nameHead, anonymous, at, rate, 6)
	r.ratio(nameHead, anonymous, at, thrift, 8)
	r.ratio(nameGet, anonymous, at, rate, 3.8)
	r.ratio(nameBlob, anonymous, at, rate, 19)
	r.ratio(namePull, anonymous, at, rate, 16)
	r.ratio(namePush, anonymous, at, rate, 9)
	r.ratio(nameLargePush, anonymous, 1, rate, 2.5)
	r.ratio(nameTagsMany, anonymous, at, rate, 10)
	r.ratio(nameReposMany, bearer, at, rate, 10)
	r.besideNginx()
	r.sameSpeed(nameTagsFew, nameTagsMany, anonymous)
	r.sameSpeed(nameReposFew, nameReposMany, bearer)
	r.tokens()
	r.decided()
	const most = 64 << 20
	r.goal("memory at the peak of the run", "at most 64 MiB", bytesText(float64(r.Peak)), float64(r.Peak), r.Peak <= most)
}

func (r *report) goal(work, want, have string, value float64, met bool) {
	r.Goals = append(r.Goals, goal{Work: work, Want: want, Have: have, Met: met, Value: value})
}

// A measure is how much better a is than b, as a factor.
type measureOf struct {
	name string
	of   func(a, b sample) float64
}

var (
	rate   = measureOf{"the rate of Distribution", func(a, b sample) float64 { return quotient(a.Rate, b.Rate) }}
	thrift = measureOf{"less processor time than Distribution", func(a, b sample) float64 { return quotient(float64(b.CPU), float64(a.CPU)) }}
)

func quotient(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

func (r *report) find(work string, m mode, clients int) (result, bool) {
	for _, res := range r.Results {
		if res.Work == work && res.Auth == m && res.Clients == clients && res.Error == "" {
			return res, true
		}
	}
	return result{}, false
}

func (r *report) ratio(work string, m mode, clients int, by measureOf, least float64) {
	res, ok := r.find(work, m, clients)
	if !ok {
		return
	}
	x := by.of(res.Median["berth"], res.Median["Distribution"])
	r.goal(fmt.Sprintf("%s, %s", work, m), fmt.Sprintf("%gx %s", least, by.name), fmt.Sprintf("%.3gx", x), x, x >= least)
}

func (r *report) ownRate() {
	b, ok1 := r.find(nameHead, basic, at)
	a, ok2 := r.find(nameHead, anonymous, at)
	if ok1 && ok2 {
		x := rate.of(b.Median["berth"], a.Median["berth"])
		r.goal(nameHead+", Basic", "0.9 of the rate without credentials", fmt.Sprintf("%.2f", x), x, x >= 0.9)
	}
}

func (r *report) besideNginx() {
	for _, l := range r.Limits {
		if l.Work == nameBlob && l.Clients == at {
			x := quotient(l.Median["berth"].Rate, l.Median["nginx"].Rate)
			r.goal(nameBlob+", wrk", "0.7 of the rate of nginx", fmt.Sprintf("%.2f", x), x, x >= 0.7)
		}
	}
	res, ok := r.find(nameLargePull, anonymous, 1)
	if n, both := res.Median["nginx"]; ok && both {
		x := rate.of(res.Median["berth"], n)
		r.goal(nameLargePull, "0.95 of the rate of nginx", fmt.Sprintf("%.2f", x), x, x >= 0.95)
	}
}

func (r *report) sameSpeed(few, many string, m mode) {
	a, ok1 := r.find(few, m, 1)
	b, ok2 := r.find(many, m, 1)
	if ok1 && ok2 {
		x := quotient(float64(b.Median["berth"].P50), float64(a.Median["berth"].P50))
		r.goal(many, "within 1.2 of the time for few", fmt.Sprintf("%.2f", x), x, x <= 1.2)
	}
}

func (r *report) tokens() {
	res, ok := r.find(nameToken, basic, at)
	if !ok {
		return
	}
	have := res.Median["berth"].Rate
	x := rate.of(res.Median["berth"], res.Median["bcrypt and RS256"])
	r.goal("token, password already verified", "10,000 a second, or 5x a server of bcrypt and RS256",
		fmt.Sprintf("%.0f a second, %.3gx", have, x), x, have >= 10_000 || x >= 5)
}

func (r *report) decided() {
	if len(r.Decisions) == 0 {
		return
	}
	var worst decision
	met := true
	for _, d := range r.Decisions {
		if d.Rules != 1000 {
			continue
		}
		if d.Nanos > worst.Nanos {
			worst = d
		}
		met = met && d.Nanos < 5000 && d.Allocs == 0
	}
	r.goal("decision of 1,000 rules, the slowest case", "below 5 µs, no allocation",
		fmt.Sprintf("%v, %d allocations", time.Duration(worst.Nanos), worst.Allocs), worst.Nanos, met)
}
