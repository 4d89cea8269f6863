package report

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebrahem-outlook/customer-service/e2e/audit"
)

// The files that Write makes.
const (
	Markdown = "report.md"
	HTML     = "report.html"
	JSON     = "report.json"
)

//go:embed report.html.tmpl
var page string

// Write puts the three files into dir, which must exist.
func (r *Run) Write(dir string) error {
	whole, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	html, err := r.html()
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(dir, JSON), whole, 0o600),
		os.WriteFile(filepath.Join(dir, Markdown), []byte(r.markdown()), 0o600),
		os.WriteFile(filepath.Join(dir, HTML), []byte(html), 0o600),
	)
}

// Summary is the verdict in one line.
func (r *Run) Summary() string {
	verdict := "every promise held"
	if !r.OK() {
		verdict = "FAILED"
	}
	return fmt.Sprintf("%s: %d faults in %s, seed %d; recovery %s median, %s p99, %s at most",
		verdict, len(r.Faults), r.Length.Round(time.Second), r.Seed,
		seconds(quantile(r.Recoveries(), 0.5)), seconds(quantile(r.Recoveries(), 0.99)), seconds(quantile(r.Recoveries(), 1)))
}

func (r *Run) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Faults: %s\n\n%s, %s, product %s. Again: `%s`\n\n", r.Summary(), r.Began.UTC().Format(time.RFC3339), r.Machine, r.Product, r.Repeat)
	b.WriteString("| what | how much |\n|---|---|\n")
	for _, f := range r.Totals {
		fmt.Fprintf(&b, "| %s | %s |\n", f.Name, f.Value)
	}
	b.WriteString("\n## Promises\n\n| promise | check | held to it | verdict |\n|---|---|---|---|\n")
	for _, v := range r.Verdicts {
		fmt.Fprintf(&b, "| %s | %s | %d %s | %s |\n", v.Promise, cell(v.Check), v.Checked, v.Unit, cell(judge(v)))
	}
	for _, v := range r.Verdicts {
		for _, violation := range v.Violations {
			fmt.Fprintf(&b, "\n- %s, %s: %s", v.Promise, v.Check, violation)
		}
	}
	b.WriteString("\n## Guards\n\n| seen | how often | needed | why |\n|---|---|---|---|\n")
	for _, g := range r.Guards {
		mark := ""
		if !g.OK() {
			mark = " **too few**"
		}
		fmt.Fprintf(&b, "| %s | %s%s | %s | %s |\n", g.Name, number(g.Seen), mark, number(g.Least), cell(g.Why))
	}
	b.WriteString("\n## Faults\n\n| # | at | fault | target | lasted | recovered after |\n|---|---|---|---|---|---|\n")
	for _, f := range r.Faults {
		recovered := seconds(max(0, f.Recovery()))
		if f.Error != "" {
			recovered = "**" + cell(f.Error) + "**"
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %s |\n", f.Number, seconds(f.Began), f.Fault, cell(f.Target), seconds(f.Healed-f.Began), recovered)
	}
	for _, a := range r.Absent {
		fmt.Fprintf(&b, "\nNot injected here: %s\n", a)
	}
	return b.String()
}

func judge(v audit.Verdict) string {
	switch {
	case v.Error != "":
		return "**not finished**: " + v.Error
	case v.Violated > 0:
		return fmt.Sprintf("**violated %d times**", v.Violated)
	case v.Checked == 0:
		return "**nothing was held to it**"
	case v.Note != "":
		return "held; " + v.Note
	default:
		return "held"
	}
}

func cell(s string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(s) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

func number(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

func (r *Run) html() (string, error) {
	t, err := template.New("report").Funcs(template.FuncMap{
		"judge": func(v audit.Verdict) string { return strings.ReplaceAll(judge(v), "**", "") },
		"s":     seconds, "n": number,
		"recovery": func(a, b time.Duration) string { return seconds(max(0, a-b)) },
		"sub":      func(a, b time.Duration) time.Duration { return a - b },
	}).Parse(page)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, struct {
		*Run
		Timeline timeline
	}{r, newTimeline(r)})
	return b.String(), err
}
