package main

import (
	"fmt"
	"slices"
	"strings"
)

// besideDirectory are the names of the rows whose users are in a directory.
var besideDirectory = [...]string{nameLogin, nameFirstLogin, nameUserPull, nameFirstPull}

// besideOthers returns the results in which berth is beside other servers.
func (r *report) besideOthers() []result {
	return slices.DeleteFunc(slices.Clone(r.Results), func(res result) bool { return slices.Contains(besideDirectory[:], res.Work) })
}

const explainDirectory = `A login is a request for a token with a password, as ` + "`docker login`" + ` makes it, which writes a refresh token into the database; a pull
is HEAD of a manifest with Basic. Remembered: the same user every time. First: another user every time, who was never here before. For a user of the directory that is a search
for him, one for his groups, and a bind, by slapd on the same machine; for one of the password file it is a bcrypt of cost 10.
Processor time is that of berth alone. In each cell: a user of the directory, then one of the password file.
`

func (r *report) writeDirectory(b *strings.Builder) {
	var lines strings.Builder
	for _, res := range r.Results {
		if !slices.Contains(besideDirectory[:], res.Work) {
			continue
		}
		if res.Error != "" {
			fmt.Fprintf(&lines, "| %s | %d | failed | | | | |\n", res.Work, res.Clients)
			continue
		}
		d, f := res.Median[ofDirectory], res.Median[ofFile]
		fmt.Fprintf(&lines, "| %s | %d | %s · %s | %.3g | %s · %s | %s · %s | %s · %s |\n", res.Work, res.Clients,
			rateText(d.Rate, 0), rateText(f.Rate, 0), quotient(d.Rate, f.Rate),
			timeText(d.P50), timeText(f.P50), timeText(d.P99), timeText(f.P99), timeText(d.CPU), timeText(f.CPU))
	}
	if lines.Len() == 0 {
		return
	}
	fmt.Fprintf(b, "\n## Users of a directory\n%s\n| work | clients | rate, 1/s | factor | p50 | p99 | processor |\n|---|---:|---:|---:|---:|---:|---:|\n%s\n",
		explainDirectory, lines.String())
}

func (r *report) writeDecisions(b *strings.Builder) {
	if len(r.Decisions) == 0 {
		return
	}
	var cases []string
	var sizes []int
	times := make(map[string]string)
	for _, d := range r.Decisions {
		if !slices.Contains(cases, d.Name) {
			cases = append(cases, d.Name)
		}
		if !slices.Contains(sizes, d.Rules) {
			sizes = append(sizes, d.Rules)
		}
		times[fmt.Sprint(d.Rules, d.Name)] = fmt.Sprintf("%.0f", d.Nanos)
	}
	b.WriteString("\n## Decisions\nNanoseconds for one decision by so many rules.\n\n| request |")
	for _, n := range sizes {
		fmt.Fprintf(b, " %d rules |", n)
	}
	b.WriteString("\n|---|" + strings.Repeat("---:|", len(sizes)) + "\n")
	for _, c := range cases {
		fmt.Fprintf(b, "| %s |", c)
		for _, n := range sizes {
			fmt.Fprintf(b, " %s |", times[fmt.Sprint(n, c)])
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
}
