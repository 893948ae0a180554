package simulate

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pilotlight/pilotlight/jobs"
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

// The columns of the two forms of a trace.
const (
	requestColumns  = "t_ms,service,input_tokens,output_tokens"
	countColumns    = "minute,service,count"
	recordedColumns = countColumns + ",second,slot_ms" // of counts, as demand is recorded
)

const (
	longestLine  = 4096
	longestTrace = 100 * 365 * 24 * time.Hour
	mostTokens   = 1e7
	mostCount    = 1e6 // requests of one service in a minute
)

// Trace reads a trace as it is written, plain or gzipped, line by line.
type Trace struct {
	file   string
	gzip   *gunzip // nil: it is plain
	lines  *bufio.Scanner
	line   int
	found  bool // a request
	of     Durations
	last   int64 // of the first column
	names  map[string]string
	counts *spread               // nil: a trace of requests
	times  map[string]*slotTimes // of each service, as last said
}

// NewTrace reads a trace's first line and tells its form by it. name is what
// errors call it. seed spreads the counts of a trace of counts.
func NewTrace(r io.Reader, name string, of Durations, seed uint64) (*Trace, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	t := &Trace{file: name, of: of, names: map[string]string{}, times: map[string]*slotTimes{}}
	r = buffered
	if magic, _ := buffered.Peek(2); isGzip(magic) {
		z, err := newGunzip(buffered)
		if err != nil {
			return nil, &TraceError{name, 1, "is not readable as gzip: " + err.Error()}
		}
		t.gzip, r = z, z
	}
	whole := &lastWords{r: r}
	t.lines = bufio.NewScanner(whole)
	t.lines.Buffer(make([]byte, 0, longestLine), longestLine)
	t.lines.Split(whole.lines)
	header, err := t.scan()
	if errors.Is(err, io.EOF) {
		return nil, t.wrong("is empty; the first line is %q, %q or %q", requestColumns, countColumns, recordedColumns)
	}
	if err != nil {
		return nil, err
	}
	switch strings.TrimSpace(strings.TrimPrefix(header, "\ufeff")) {
	case requestColumns:
	case countColumns:
		t.counts = &spread{next: t.scanMinute, of: of, seed: seed}
	case recordedColumns:
		t.counts = &spread{next: t.scanRecorded, of: of, seed: seed}
	default:
		return nil, t.wrong("columns are %q; allowed: %q, %q or %q", clip(header), requestColumns, countColumns, recordedColumns)
	}
	t.last = -1
	return t, nil
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
			message = fault + ", at or before this line; get or compress it again"
		}
	}
	return t.at(message)
}

func (t *Trace) at(message string) error { return &TraceError{t.file, max(t.line, 1), message} }

// scan returns the next line that is not empty.
func (t *Trace) scan() (string, error) {
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
		return "", t.wrong("is longer than %d bytes", longestLine)
	case compressionFault(err) != "":
		return "", t.at(compressionFault(err) + ", at or before this line; get or compress it again")
	default:
		return "", t.at(fmt.Sprintf("cannot be read: %v", err))
	}
}

// Next returns the next request. Errors: io.EOF after the last one, *TraceError;
// a trace without any request is one: nothing can be said of it.
func (t *Trace) Next() (Request, error) {
	next := t.request
	if t.counts != nil {
		next = t.counts.Next
	}
	r, err := next()
	switch {
	case err == nil:
		t.found = true
	case errors.Is(err, io.EOF) && !t.found:
		return Request{}, t.at("the trace has no requests: there is nothing to replay")
	}
	return r, err
}

func (t *Trace) request() (Request, error) {
	text, err := t.scan()
	if err != nil {
		return Request{}, err
	}
	var cells [4]string
	if err := t.split(text, cells[:]); err != nil {
		return Request{}, err
	}
	ms, err := t.number(cells[0], "t_ms", float64(longestTrace.Milliseconds()))
	if err != nil {
		return Request{}, err
	}
	if err := t.ordered(ms, "t_ms"); err != nil {
		return Request{}, err
	}
	in, err := t.number(cells[2], "input_tokens", mostTokens)
	if err != nil {
		return Request{}, err
	}
	out, err := t.number(cells[3], "output_tokens", mostTokens)
	if err != nil {
		return Request{}, err
	}
	name, err := t.service(cells[1])
	if err != nil {
		return Request{}, err
	}
	took := t.of.Base + time.Duration(in)*t.of.Input + time.Duration(out)*t.of.Output
	return Request{At: time.Duration(ms) * time.Millisecond, Service: name, Seconds: took.Seconds()}, nil
}

func (t *Trace) split(text string, into []string) error {
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
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(text, 64)
		if ferr != nil || math.IsNaN(f) || math.IsInf(f, 0) || f > most {
			return 0, t.wrong("%s: %q is not a whole number from 0 to %.0f", column, clip(text), most)
		}
		n = int64(math.Floor(f))
	}
	if n < 0 || float64(n) > most {
		return 0, t.wrong("%s: %s is out of range; allowed: a whole number from 0 to %.0f", column, clip(text), most)
	}
	return n, nil
}

func (t *Trace) ordered(at int64, column string) error {
	if at < t.last {
		return t.wrong("%s: %d comes after %d: a trace is sorted by time", column, at, t.last)
	}
	t.last = at
	return nil
}

// mostServices bounds what a wrong column could make of a trace.
const mostServices = 10_000

func (t *Trace) service(text string) (string, error) {
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

func (t *Trace) scanMinute() (step, error) {
	text, err := t.scan()
	if err != nil {
		return step{}, err
	}
	var cells [3]string
	if err := t.split(text, cells[:]); err != nil {
		return step{}, err
	}
	return t.minute(cells[:])
}

func (t *Trace) minute(cells []string) (step, error) {
	at, err := t.number(cells[0], "minute", longestTrace.Minutes())
	if err != nil {
		return step{}, err
	}
	count, err := t.number(cells[2], "count", mostCount)
	if err != nil {
		return step{}, err
	}
	name, err := t.service(cells[1])
	if err != nil {
		return step{}, err
	}
	s := step{at: at, unit: time.Minute, service: name, count: int(count)}
	if len(cells) > 3 { // a finer one comes yet
		return s, nil
	}
	return s, t.ordered(at, "minute")
}

// scanRecorded reads a line of recorded demand: the step that begins at a second
// of a minute. An empty slot_ms is the one that was last said of the service.
func (t *Trace) scanRecorded() (step, error) {
	text, err := t.scan()
	if err != nil {
		return step{}, err
	}
	var cells [5]string
	if err := t.split(text, cells[:]); err != nil {
		return step{}, err
	}
	s, err := t.minute(cells[:])
	if err != nil {
		return step{}, err
	}
	second, err := t.number(cells[3], "second", 59)
	if err != nil {
		return step{}, err
	}
	whole := int64(jobs.RecordedStep / time.Second)
	if second%whole != 0 {
		return step{}, t.wrong("second: %d is not the beginning of a step; allowed: multiples of %d", second, whole)
	}
	s.at, s.unit = (s.at*60+second)/whole, jobs.RecordedStep
	if cells[4] != "" {
		times, err := parseTimes(cells[4])
		if err != nil {
			return step{}, t.wrong("slot_ms: %v", err)
		}
		t.times[s.service] = times
	}
	s.times = t.times[s.service]
	return s, t.ordered(s.at, "the step of minute and second")
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}
