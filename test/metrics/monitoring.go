package metrics

import (
	"encoding/json"
	"fmt"
	"os"

	"sigs.k8s.io/yaml"
)

// Question is an expression and where it stands.
type Question struct {
	Where, Expr string
}

// Dashboard reads the expressions of a Grafana dashboard.
func Dashboard(path string) ([]Question, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d struct {
		Title  string
		Panels []struct {
			Title   string
			Type    string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var all []Question
	for _, p := range d.Panels {
		if p.Type != "row" && len(p.Targets) == 0 {
			return nil, fmt.Errorf("%s: panel %q asks for nothing", path, p.Title)
		}
		for _, t := range p.Targets {
			all = append(all, Question{p.Title, t.Expr})
		}
	}
	return all, nil
}

// Rules reads the expressions of a file of Prometheus rules, and the names that its recording rules make.
func Rules(path string) (questions []Question, records []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct{ Record, Alert, Expr string }
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if (r.Record == "") == (r.Alert == "") {
				return nil, nil, fmt.Errorf("%s: a rule of %s neither records nor alerts, or both", path, g.Name)
			}
			questions = append(questions, Question{r.Record + r.Alert, r.Expr})
			if r.Record != "" {
				records = append(records, r.Record)
			}
		}
	}
	return questions, records, nil
}
