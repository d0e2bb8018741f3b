package metrics

import (
	"fmt"
	"slices"
	"strings"
)

// Selector is a metric that an expression asks for, with the labels that it names.
type Selector struct {
	Metric string
	Labels []string
}

// Expression is what an expression in PromQL asks for.
type Expression struct {
	Selectors []Selector
	Grouped   []string // labels in by, without, on, ignoring and group_left or group_right
}

// token is a piece of an expression: a word, a text (its quotes taken off), or one character of anything else.
type token struct {
	kind byte // 'w', '"' or the character
	text string
}

// ParseExpression reads as much of PromQL as it takes to know what an expression asks for. Grafana's variables count as durations.
func ParseExpression(expr string) (Expression, error) {
	tokens, err := tokenize(expr)
	if err != nil {
		return Expression{}, err
	}
	var e Expression
	for i := 0; i < len(tokens); {
		i, err = e.take(tokens, i)
		if err != nil {
			return e, fmt.Errorf("%q: %w", expr, err)
		}
	}
	if len(e.Selectors) == 0 && !strings.Contains(expr, "vector(") {
		return e, fmt.Errorf("%q asks for nothing", expr)
	}
	return e, nil
}

func tokenize(expr string) (tokens []token, err error) {
	for rest := expr; rest != ""; {
		c := rest[0]
		n := 1
		switch {
		case c == ' ' || c == '\n' || c == '\t':
			rest = rest[1:]
			continue
		case c == '"' || c == '\'' || c == '`':
			n = endOfText(rest)
			if n < 0 {
				return nil, fmt.Errorf("%q: a text has no end", expr)
			}
			tokens = append(tokens, token{'"', rest[1 : n-1]})
		case isWord(c):
			for n < len(rest) && isWord(rest[n]) {
				n++
			}
			tokens = append(tokens, token{'w', rest[:n]})
		default:
			tokens = append(tokens, token{c, rest[:1]})
		}
		rest = rest[n:]
	}
	return tokens, nil
}

// endOfText is where the text that s begins with ends, its second quote included, or -1.
func endOfText(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case s[0]:
			return i + 1
		}
	}
	return -1
}

func isWord(c byte) bool {
	return c == '_' || c == ':' || c == '$' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// take reads the token at i and what belongs to it, and returns where to go on.
func (e *Expression) take(tokens []token, i int) (next int, err error) {
	t := tokens[i]
	following := byte(0)
	if i+1 < len(tokens) {
		following = tokens[i+1].kind
	}
	switch {
	case t.kind == '[':
		return skipTo(tokens, i, ']')
	case t.kind == '{':
		return i, fmt.Errorf("labels without a metric")
	case t.kind != 'w' || t.text[0] >= '0' && t.text[0] <= '9' || t.text[0] == '$':
		return i + 1, nil
	case slices.Contains([]string{"by", "without", "on", "ignoring", "group_left", "group_right"}, t.text):
		if following != '(' {
			return i + 1, nil
		}
		labels, next, err := words(tokens, i+2, ')')
		e.Grouped = append(e.Grouped, labels...)
		return next, err
	case slices.Contains([]string{"and", "or", "unless", "bool", "offset", "inf", "nan", "Inf", "NaN"}, t.text):
		return i + 1, nil
	case following == '(' || following == 'w' && tokens[i+1].text == "by" || following == 'w' && tokens[i+1].text == "without":
		return i + 1, nil // a function
	}
	s := Selector{Metric: t.text}
	next = i + 1
	if following == '{' {
		if s.Labels, next, err = matchers(tokens, i+2); err != nil {
			return i, err
		}
	}
	e.Selectors = append(e.Selectors, s)
	return next, nil
}

func skipTo(tokens []token, i int, end byte) (int, error) {
	for ; i < len(tokens); i++ {
		if tokens[i].kind == end {
			return i + 1, nil
		}
	}
	return i, fmt.Errorf("no %c", end)
}

// words reads a list of words up to its end.
func words(tokens []token, i int, end byte) (list []string, next int, err error) {
	for ; i < len(tokens); i++ {
		switch tokens[i].kind {
		case end:
			return list, i + 1, nil
		case 'w':
			list = append(list, tokens[i].text)
		case ',':
		default:
			return nil, i, fmt.Errorf("%q in a list of labels", tokens[i].text)
		}
	}
	return nil, i, fmt.Errorf("no %c", end)
}

// matchers reads label matchers, of which it keeps the names, up to the brace.
func matchers(tokens []token, i int) (names []string, next int, err error) {
	for ; i < len(tokens); i++ {
		switch t := tokens[i]; {
		case t.kind == '}':
			return names, i + 1, nil
		case t.kind == 'w':
			names = append(names, t.text)
		case !strings.ContainsRune(`=!~",`, rune(t.kind)):
			return nil, i, fmt.Errorf("%q in label matchers", t.text)
		}
	}
	return nil, i, fmt.Errorf("no }")
}

// scraped are labels that whoever scrapes adds.
var scraped = []string{"job", "instance"}

// Unanswered says what of an expression nobody answers: metrics that neither the page nor records know, and labels that a metric has not.
// records are the names that recording rules make, whose labels are not checked.
func (e *Expression) Unanswered(page Page, records map[string]bool) []string {
	var all []string
	var known []string
	open := false // there is a metric of which all labels are possible
	for _, s := range e.Selectors {
		f := page.family(s.Metric)
		switch {
		case records[s.Metric] || s.Metric == "up":
			open = open || records[s.Metric]
			continue
		case f == nil:
			all = append(all, "no metric "+s.Metric)
			continue
		}
		labels := append(f.Labels(), scraped...)
		if strings.HasSuffix(s.Metric, "_bucket") {
			labels = append(labels, "le")
		}
		known = append(known, labels...)
		for _, l := range s.Labels {
			if !slices.Contains(labels, l) {
				all = append(all, fmt.Sprintf("%s has no label %s", s.Metric, l))
			}
		}
	}
	for _, l := range e.Grouped {
		if !open && !slices.Contains(known, l) && !slices.Contains(scraped, l) {
			all = append(all, "nothing has the label "+l)
		}
	}
	return all
}

// family finds the metric that a series name belongs to.
func (p Page) family(series string) *Family {
	for _, suffix := range []string{"", "_bucket", "_sum", "_count"} {
		name, ok := strings.CutSuffix(series, suffix)
		if f := p[name]; ok && f != nil && (suffix == "" && f.Type != "histogram" || suffix != "" && f.Type == "histogram") {
			return f
		}
	}
	return nil
}
