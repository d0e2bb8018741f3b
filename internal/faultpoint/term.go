//go:build faultpoints

package faultpoint

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// action is what a term does.
type action int

const (
	actOff action = iota
	actPanic
	actSleep
	actReturn
)

// term is one step of what a point is set to: "2*sleep(100)" or "30%panic". Of a chain of terms, joined by "->", the first applies that
// has hits left and, if it has a percentage, is lucky.
type term struct {
	action  action
	value   string        // of panic and return
	pause   time.Duration // of sleep
	left    int           // hits left; negative is no bound
	percent float64
}

var errTerm = errors.New(`expected panic, off, sleep("10s"), sleep(100) or return("text"), each behind an optional 3* or 50%`)

// parse reads a chain of terms; an empty text has none.
func parse(text string) ([]term, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if strings.Contains(text, "\n") { // the list of points has one in a line
		return nil, errTerm
	}
	var chain []term
	for one := range strings.SplitSeq(text, "->") {
		t, err := parseTerm(strings.TrimSpace(one))
		if err != nil {
			return nil, fmt.Errorf("%q: %w", one, err)
		}
		chain = append(chain, t)
	}
	return chain, nil
}

func parseTerm(text string) (t term, err error) {
	t = term{left: -1, percent: 100}
	name, argument, called := strings.Cut(text, "(")
	if percent, rest, ok := strings.Cut(name, "%"); ok {
		if t.percent, err = strconv.ParseFloat(percent, 64); err != nil || !(t.percent >= 0 && t.percent <= 100) {
			return t, errTerm
		}
		name = rest
	}
	if count, rest, ok := strings.Cut(name, "*"); ok {
		if t.left, err = strconv.Atoi(count); err != nil || t.left < 0 {
			return t, errTerm
		}
		name = rest
	}
	if called {
		var closed bool
		if argument, closed = strings.CutSuffix(argument, ")"); !closed {
			return t, errTerm
		}
	}
	return t, t.setAction(name, argument)
}

func (t *term) setAction(name, argument string) (err error) {
	switch name {
	case "off":
		t.action = actOff
	case "panic":
		t.action, t.value = actPanic, unquoted(argument)
	case "return":
		t.action, t.value = actReturn, unquoted(argument)
	case "sleep":
		t.action = actSleep
		t.pause, err = parsePause(argument)
	default:
		err = errTerm
	}
	return err
}

// parsePause reads a duration, quoted, or a number of milliseconds.
func parsePause(argument string) (time.Duration, error) {
	if ms, err := strconv.Atoi(argument); err == nil && ms >= 0 {
		return time.Duration(ms) * time.Millisecond, nil
	}
	d, err := time.ParseDuration(unquoted(argument))
	if err != nil || d < 0 {
		return 0, errTerm
	}
	return d, nil
}

// unquoted is the text in quotes; one without is taken as it is (true, 5).
func unquoted(argument string) string {
	if text, err := strconv.Unquote(argument); err == nil {
		return text
	}
	return argument
}
