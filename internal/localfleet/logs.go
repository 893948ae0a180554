package localfleet

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"sync"
	"unicode"
)

// logFile keeps the last part of one output stream: when it reaches its limit
// it is moved to path.1, whose content goes. A log that cannot be written (disk
// full) loses output; it never stops the task that writes it.
type logFile struct {
	path  string
	limit int64 // bytes
	size  int64
	file  *os.File
}

func openLog(path string, limit int64) (*logFile, error) {
	l := &logFile{path: path, limit: limit}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *logFile) open() error {
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	l.file, l.size = f, 0
	if info, err := f.Stat(); err == nil {
		l.size = info.Size()
	}
	return nil
}

func (l *logFile) write(p []byte) {
	if l.size > 0 && l.size+int64(len(p)) > l.limit {
		l.close()
		if os.Rename(l.path, l.path+".1") != nil || l.open() != nil {
			return
		}
	}
	if l.file == nil {
		return
	}
	n, _ := l.file.Write(p)
	l.size += int64(n)
}

func (l *logFile) close() {
	if l.file != nil {
		l.file.Close()
		l.file = nil
	}
}

// Bounds of what a task's last words may be.
const (
	tailLines     = 20
	tailLineBytes = 400
	tailBytes     = 2048
)

// tail remembers the last lines of one run of a task, both streams together in
// the order in which they came.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	line = strings.TrimRightFunc(printable(line), unicode.IsSpace)
	if line == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if over := len(t.lines) - tailLines; over > 0 {
		t.lines = t.lines[over:]
	}
}

// words are the last lines that fit tailBytes.
func (t *tail) words() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	size, first := 0, len(t.lines)
	for first > 0 && size+len(t.lines[first-1])+1 <= tailBytes {
		first--
		size += len(t.lines[first]) + 1
	}
	return strings.Join(t.lines[first:], "\n")
}

// printable drops what would break a page or a terminal: control characters and
// bytes that are not UTF-8.
func printable(line string) string {
	return strings.Map(func(r rune) rune {
		if r == '\t' {
			return ' '
		}
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, line)
}

// lineSplitter cuts one stream into lines for a tail; of a longer line it keeps
// the first tailLineBytes.
type lineSplitter struct {
	tail    *tail
	partial []byte
}

func (s *lineSplitter) write(p []byte) {
	for {
		line, rest, ended := bytes.Cut(p, []byte{'\n'})
		if room := tailLineBytes - len(s.partial); room > 0 {
			s.partial = append(s.partial, line[:min(room, len(line))]...)
		}
		if !ended {
			return
		}
		s.flush()
		p = rest
	}
}

// flush ends the line begun.
func (s *lineSplitter) flush() {
	s.tail.add(string(s.partial))
	s.partial = s.partial[:0]
}
