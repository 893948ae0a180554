package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode"
)

// isTerminal reports whether a person sits at the other end of a stream. The
// null device is a character device too, and nobody sits there.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// colours says whether w shows ANSI colours; see https://no-color.org.
func colours(w io.Writer) bool {
	return isTerminal(w) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

var errCancelled = errors.New("cancelled")

// readUnless calls read, and returns errCancelled as soon as ctx ends. A read of
// a terminal cannot be interrupted: its goroutine then ends with the process.
func readUnless[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, errCancelled
	}
}

// confirm asks a question that only y or yes answers with true.
func confirm(ctx context.Context, std streams, question string) (bool, error) {
	_, _ = fmt.Fprintf(std.err, "%s [y/N] ", question)
	line, err := readUnless(ctx, func() (string, error) { return bufio.NewReader(std.in).ReadString('\n') })
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// statusLine shows what is being waited for: on a terminal one line that is
// overwritten, elsewhere one line for every new text.
type statusLine struct {
	w        io.Writer
	terminal bool
	last     string
}

func newStatusLine(w io.Writer) *statusLine { return &statusLine{w: w, terminal: isTerminal(w)} }

// statusWidth keeps the line on one row of a terminal; a longer one could not
// be overwritten.
const statusWidth = 78

func (l *statusLine) show(text string) {
	if text == l.last {
		return
	}
	switch {
	case l.terminal:
		short := []rune(text)
		if len(short) > statusWidth {
			short = append(short[:statusWidth-1], '…')
		}
		_, _ = fmt.Fprintf(l.w, "\r%s\x1b[K", string(short))
	case text != "":
		_, _ = fmt.Fprintln(l.w, text)
	default:
		return // the line before stays: saying it again later would be no news
	}
	l.last = text
}

// clear takes the line away again where that is possible.
func (l *statusLine) clear() {
	if l.terminal {
		l.show("")
	}
}

// oneLine makes text from elsewhere fit to be shown in one: control characters
// could move the cursor or colour what follows.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return unicode.IsControl(r) || r == ' ' }), " ")
}

// orDash stands for what is unknown or not said.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
