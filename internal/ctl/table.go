package ctl

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Table is text in rows and columns, with borders.
type Table struct {
	Header []string
	Rows   [][]string // each as long as Header
}

// Write prints the table: titles in the middle, cells to the right.
func (t *Table) Write(w io.Writer) error {
	widths := make([]int, len(t.Header))
	for _, row := range append([][]string{t.Header}, t.Rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	rule(&b, widths, "┌", "┬", "┐")
	row(&b, widths, t.Header, centred)
	rule(&b, widths, "├", "┼", "┤")
	for _, cells := range t.Rows {
		row(&b, widths, cells, right)
	}
	rule(&b, widths, "└", "┴", "┘")
	_, err := io.WriteString(w, b.String())
	return err
}

func rule(b *strings.Builder, widths []int, left, middle, end string) {
	b.WriteString(left)
	for i, n := range widths {
		if i > 0 {
			b.WriteString(middle)
		}
		b.WriteString(strings.Repeat("─", n+2))
	}
	b.WriteString(end + "\n")
}

func row(b *strings.Builder, widths []int, cells []string, align func(string, int) string) {
	for i, cell := range cells {
		b.WriteString("│ " + align(cell, widths[i]) + " ")
	}
	b.WriteString("│\n")
}

func right(s string, width int) string {
	return strings.Repeat(" ", width-utf8.RuneCountInString(s)) + s
}

func centred(s string, width int) string {
	space := width - utf8.RuneCountInString(s)
	return strings.Repeat(" ", space/2) + s + strings.Repeat(" ", space-space/2)
}
