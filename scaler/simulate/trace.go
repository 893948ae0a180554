package simulate

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"math"
	"math/rand/v2"
	"sort"
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

// The columns of the two forms of a trace.
const (
	requestColumns = "t_ms,service,input_tokens,output_tokens"
	countColumns   = "minute,service,count"
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
	lines  *bufio.Scanner
	line   int
	counts bool
	of     Durations
	seed   uint64
	last   int64 // of the first column
	names  map[string]string

	due   []Request // of the minutes read, sorted
	ahead *minute   // read, not yet spread
	ended bool
}

type minute struct {
	at      int64
	service string
	count   int
}

// NewTrace reads a trace's first line and tells its form by it. name is what
// errors call it. seed spreads the counts of a trace of counts.
func NewTrace(r io.Reader, name string, of Durations, seed uint64) (*Trace, error) {
	buffered := bufio.NewReaderSize(r, 1<<16)
	t := &Trace{file: name, of: of, seed: seed, names: map[string]string{}}
	if magic, _ := buffered.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(buffered)
		if err != nil {
			return nil, &TraceError{name, 1, "is not readable as gzip: " + err.Error()}
		}
		r = z
	} else {
		r = buffered
	}
	t.lines = bufio.NewScanner(r)
	t.lines.Buffer(make([]byte, 0, longestLine), longestLine)
	header, err := t.scan()
	if errors.Is(err, io.EOF) {
		return nil, t.wrong("is empty; the first line is %q or %q", requestColumns, countColumns)
	}
	if err != nil {
		return nil, err
	}
	switch strings.TrimSpace(strings.TrimPrefix(header, "\ufeff")) {
	case requestColumns:
	case countColumns:
		t.counts = true
	default:
		return nil, t.wrong("columns are %q; allowed: %q or %q", clip(header), requestColumns, countColumns)
	}
	t.last = -1
	return t, nil
}

func clip(s string) string {
	if len(s) > 80 {
		return s[:80] + "…"
	}
	return s
}

func (t *Trace) wrong(format string, args ...any) error {
	return &TraceError{t.file, max(t.line, 1), fmt.Sprintf(format, args...)}
}

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
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "", t.wrong("the gzip file ends early: it was cut")
	default:
		return "", t.wrong("cannot be read: %v", err)
	}
}

// Next returns the next request. Errors: io.EOF, *TraceError.
func (t *Trace) Next() (Request, error) {
	if t.counts {
		return t.nextOfMinute()
	}
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
			return t.wrong("%d columns are expected: %q", len(into), clip(text))
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

// nextOfMinute spreads the counts of each minute uniformly inside it, by seed,
// service and minute.
func (t *Trace) nextOfMinute() (Request, error) {
	for len(t.due) == 0 {
		if t.ended {
			return Request{}, io.EOF
		}
		if err := t.readMinute(); err != nil {
			return Request{}, err
		}
	}
	r := t.due[0]
	t.due = t.due[1:]
	return r, nil
}

// readMinute reads all lines of one minute.
func (t *Trace) readMinute() error {
	t.due = t.due[:0:0]
	var now int64 = -1
	for {
		m := t.ahead
		t.ahead = nil
		if m == nil {
			var err error
			if m, err = t.scanMinute(); errors.Is(err, io.EOF) {
				t.ended = true
				break
			} else if err != nil {
				return err
			}
		}
		if now >= 0 && m.at != now {
			t.ahead = m
			break
		}
		now = m.at
		t.spread(m)
	}
	sort.SliceStable(t.due, func(i, j int) bool { return t.due[i].At < t.due[j].At })
	return nil
}

func (t *Trace) scanMinute() (*minute, error) {
	text, err := t.scan()
	if err != nil {
		return nil, err
	}
	var cells [3]string
	if err := t.split(text, cells[:]); err != nil {
		return nil, err
	}
	at, err := t.number(cells[0], "minute", longestTrace.Minutes())
	if err != nil {
		return nil, err
	}
	if err := t.ordered(at, "minute"); err != nil {
		return nil, err
	}
	count, err := t.number(cells[2], "count", mostCount)
	if err != nil {
		return nil, err
	}
	name, err := t.service(cells[1])
	if err != nil {
		return nil, err
	}
	return &minute{at: at, service: name, count: int(count)}, nil
}

func (t *Trace) spread(m *minute) {
	draw := rand.New(rand.NewPCG(t.seed, hash(m.service)^uint64(m.at)*0x9e3779b97f4a7c15))
	for range m.count {
		t.due = append(t.due, Request{
			At:      time.Duration(m.at)*time.Minute + time.Duration(draw.Float64()*float64(time.Minute)),
			Service: m.service,
			Seconds: t.of.Median.Seconds() * math.Exp(t.of.Sigma*draw.NormFloat64()),
		})
	}
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s)) // never fails
	return h.Sum64()
}
