package simulate

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
)

// Request of a trace.
type Request struct {
	At      time.Duration // since the trace's start
	Service string
	Seconds float64 // in a slot
}

// Source gives requests in order of time; io.EOF after the last one.
type Source interface {
	Next() (Request, error)
}

// TraceError says what is wrong with a trace, and where.
type TraceError struct {
	File    string
	Line    int // 1 is the first
	Message string
}

func (e *TraceError) Error() string { return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Message) }

// Durations says how long a request takes in a slot: Base + Input per input
// token + Output per output token. Requests of a trace of counts have no
// tokens: theirs are lognormal with Median and Sigma.
type Durations struct {
	Base   time.Duration
	Input  time.Duration // prefill, per input token
	Output time.Duration // decode, per output token
	Median time.Duration // of a trace of counts
	Sigma  float64
}

// DefaultDurations are those of a 27B model on one 80 GB GPU.
func DefaultDurations() Durations {
	return Durations{
		Base: 50 * time.Millisecond, Input: 300 * time.Microsecond, Output: 25 * time.Millisecond,
		Median: 4 * time.Second, Sigma: 0.8,
	}
}

// The columns of the forms of a trace.
const (
	requestColumns  = "t_ms,service,input_tokens,output_tokens"
	timedColumns    = "t_ms,service,slot_ms" // of requests whose times in a slot are known, as of an access log
	countColumns    = "minute,service,count"
	recordedColumns = countColumns + ",second,slot_ms" // of counts, as demand is recorded
)

// allowedColumns is what a first line may be, for an error.
var allowedColumns = fmt.Sprintf("%q, %q, %q or %q", requestColumns, timedColumns, countColumns, recordedColumns)

const (
	longestLine  = 4096
	longestTrace = 10 * 365 * 24 * time.Hour
	mostTokens   = 1e7
	mostSlotMS   = 24 * 3600 * 1000
	mostCount    = 1e6 // requests of one service in a minute
	mostAtOnce   = 5e6 // requests of all services in a step of a trace of counts: they are in memory together
)

// mendGzip is what to do about a damaged gzip file.
const mendGzip = "; get or compress it again"

// Trace reads a trace as it is written, plain or gzipped, line by line.
type Trace struct {
	file   string
	gzip   *gunzip // nil: it is plain
	lines  *bufio.Scanner
	line   int
	found  bool // a request
	of     Durations
	begins time.Time // zero: the trace counts from its own start
	base   int64     // of the first column, where it is Unix time: what the trace begins at
	ahead  *string   // a line that was read to see that
	last   int64     // of the first column, without base
	crowd  int64     // requests of a trace of counts at that moment
	names  map[string]string
	read   func() (Request, error)
	times  map[string]*slotTimes // of each service, as last said
}

// NewTrace reads a trace's first line and tells its form by it, and when it began
// by the second. name is what errors call it. seed spreads the counts of a trace of
// counts.
func NewTrace(r io.Reader, name string, of Durations, seed uint64) (*Trace, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	t := &Trace{file: name, of: of, names: map[string]string{}, times: map[string]*slotTimes{}}
	r = buffered
	if magic, _ := buffered.Peek(2); isGzip(magic) {
		z, err := newGunzip(buffered)
		if err != nil {
			return nil, &TraceError{name, 1, cmp.Or(compressionFault(err), "is not readable as gzip: "+err.Error()) + mendGzip}
		}
		t.gzip, r = z, z
	}
	whole := &lastWords{r: r}
	t.lines = bufio.NewScanner(whole)
	t.lines.Buffer(make([]byte, 0, longestLine), longestLine)
	t.lines.Split(whole.lines)
	header, err := t.scan()
	if errors.Is(err, io.EOF) {
		return nil, t.wrong("is empty; the first line is %s", allowedColumns)
	}
	if err != nil {
		return nil, err
	}
	t.last = -1
	unit := time.Minute
	switch strings.NewReplacer(" ", "", `"`, "", "\r", "").Replace(strings.TrimPrefix(header, "\ufeff")) {
	case requestColumns:
		t.read, unit = t.tokens, time.Millisecond
	case timedColumns:
		t.read, unit = t.timed, time.Millisecond
	case countColumns:
		t.read = (&spread{next: t.scanMinute, of: of, seed: seed}).Next
	case recordedColumns:
		t.read = (&spread{next: t.scanRecorded, of: of, seed: seed}).Next
	default:
		return nil, t.wrong("columns are %q; allowed: %s", clip(header), allowedColumns)
	}
	return t, t.lookAhead(unit)
}

// lastWords remembers why its reader ended, so that the part of a line that was
// there when reading failed is not taken for a line: of a file that was cut, that
// part would be told as wrong, or worse, be right with digits missing.
type lastWords struct {
	r   io.Reader
	err error
}

func (l *lastWords) Read(b []byte) (n int, err error) {
	n, err = l.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		l.err = err
	}
	return n, err
}

// lines is a bufio.SplitFunc.
func (l *lastWords) lines(data []byte, atEnd bool) (advance int, token []byte, err error) {
	advance, token, err = bufio.ScanLines(data, atEnd)
	if l.err != nil && atEnd && !bytes.ContainsRune(data, '\n') {
		return len(data), nil, nil
	}
	return advance, token, err
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

// wrong is about the line that was read last. Of a damaged gzip file the damage is
// told, because the line is not what somebody wrote and could mend.
func (t *Trace) wrong(format string, args ...any) error {
	message := fmt.Sprintf(format, args...)
	if t.gzip != nil {
		if fault := t.gzip.judge(); fault != "" {
			message = fault + ", at or before this line" + mendGzip
		}
	}
	return t.at(message)
}

func (t *Trace) at(message string) error { return &TraceError{t.file, max(t.line, 1), message} }

// scan returns the next line that is not empty.
func (t *Trace) scan() (string, error) {
	if t.ahead != nil {
		text := *t.ahead
		t.ahead = nil
		return text, nil
	}
	for t.lines.Scan() {
		t.line++
		if text := t.lines.Text(); strings.TrimSpace(text) != "" {
			return text, nil
		}
	}
	t.line++
	switch err := t.lines.Err(); {
	case err == nil:
		return "", io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		return "", t.wrong("is longer than %d bytes; allowed: lines of %s", longestLine, allowedColumns)
	case compressionFault(err) != "":
		return "", t.at(compressionFault(err) + ", at or before this line" + mendGzip)
	default:
		return "", t.at(fmt.Sprintf("cannot be read: %v", err))
	}
}

// Next returns the next request. Errors: io.EOF after the last one, *TraceError;
// a trace without any request is one: nothing can be said of it.
func (t *Trace) Next() (Request, error) {
	r, err := t.read()
	switch {
	case err == nil:
		t.found = true
	case errors.Is(err, io.EOF) && !t.found:
		return Request{}, t.at("the trace has no requests: there is nothing to replay")
	}
	return r, err
}

// row reads the next line into cells, one for each column. Errors: scan's.
func (t *Trace) row(into []string) error {
	text, err := t.scan()
	if err != nil {
		return err
	}
	rest := strings.TrimRight(text, "\r")
	for i := range into {
		cell, after, more := strings.Cut(rest, ",")
		if more != (i < len(into)-1) {
			return t.wrong("%d columns are expected, and there are %d: %q", len(into), 1+strings.Count(text, ","), clip(text))
		}
		into[i], rest = strings.TrimSpace(cell), after
	}
	return nil
}

func (t *Trace) number(text, column string, most float64) (int64, error) {
	n, fault := wholeNumber(text, most)
	if fault != nil {
		return 0, t.wrong("%s: %v a whole number from 0 to %.0f", column, fault, most)
	}
	return n, nil
}

// wholeNumber reads a number from 0 to most; of one with a fraction, what is whole. The
// fault says what is wrong, and has to be followed by what is allowed.
func wholeNumber(text string, most float64) (n int64, fault error) {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || math.IsNaN(f) || math.IsInf(f, 0) || f > most {
			return 0, fmt.Errorf("%q is not", clip(text))
		}
		n = int64(math.Floor(f))
	}
	if n < 0 || float64(n) > most {
		return 0, fmt.Errorf("%s is out of range; allowed:", clip(text))
	}
	return n, nil
}

// mostServices bounds what a wrong column could make of a trace.
const mostServices = 10_000

func (t *Trace) service(text string) (string, error) {
	if n := len(text); n > 2 && text[0] == '"' && text[n-1] == '"' { // as many programs write text
		text = text[1 : n-1]
	}
	if name, met := t.names[text]; met {
		return name, nil
	}
	switch {
	case text == "" || len(text) > 200:
		return "", t.wrong("service: %q is no name; allowed: 1 to 200 characters", clip(text))
	case len(t.names) >= mostServices:
		return "", t.wrong("service: more than %d services", mostServices)
	}
	t.names[text] = text
	return text, nil
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}
