package ctl

import (
	"fmt"
	"io"
	"os"
	"strconv"
)

// Progress shows how far long work is: a line that changes on a terminal, and a line for each tenth otherwise. A nil Progress shows nothing.
type Progress struct {
	w        io.Writer
	terminal bool
	shown    int64 // percent; -1 before the first line
}

// NewProgress returns a Progress that shows on w if that is a terminal, or if always; else nil.
func NewProgress(w io.Writer, always bool) *Progress {
	terminal := false
	if f, ok := w.(*os.File); ok {
		info, err := f.Stat()
		terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	if !terminal && !always {
		return nil
	}
	return &Progress{w: w, terminal: terminal, shown: -1}
}

// Tell shows that done of total bytes are done.
func (p *Progress) Tell(done, total int64) { p.show(done, total, FormatBytes) }

// Count shows that done of total are done, whatever they are.
func (p *Progress) Count(done, total int64) {
	p.show(done, total, func(n int64) string { return strconv.FormatInt(n, 10) })
}

func (p *Progress) show(done, total int64, format func(int64) string) {
	if p == nil || total <= 0 {
		return
	}
	const tenth = 10
	percent := min(done, total) * 100 / total
	if percent == p.shown || !p.terminal && percent/tenth == p.shown/tenth && p.shown >= 0 {
		return
	}
	p.shown = percent
	if p.terminal {
		fmt.Fprintf(p.w, "\r%3d%%  %s of %s ", percent, format(done), format(total))
		return
	}
	fmt.Fprintf(p.w, "%3d%%  %s of %s\n", percent, format(done), format(total))
}

// End goes to the next line.
func (p *Progress) End() {
	if p != nil && p.terminal && p.shown >= 0 {
		fmt.Fprintln(p.w)
	}
}
