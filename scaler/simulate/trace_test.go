package simulate

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func readAll(text []byte, seed uint64) ([]Request, error) {
	trace, err := NewTrace(bytes.NewReader(text), "t.csv", DefaultDurations(), seed)
	if err != nil {
		return nil, err
	}
	var all []Request
	for {
		r, err := trace.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		all = append(all, r)
	}
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

const twoRequests = requestColumns + "\n0,chat,1000,40\n1500,code,0,0\r\n\n"

func TestATraceOfRequestsIsRead(t *testing.T) {
	want := []Request{
		{At: 0, Service: "chat", Seconds: 0.05 + 0.3 + 1},
		{At: 1500 * time.Millisecond, Service: "code", Seconds: 0.05},
	}
	for name, text := range map[string][]byte{"plain": []byte(twoRequests), "gzip": zipped(t, twoRequests)} {
		got, err := readAll(text, 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestATraceOfMeasuredTimesIsRead(t *testing.T) {
	want := []Request{{At: 0, Service: "chat", Seconds: 0.052}, {At: 1500 * time.Millisecond, Service: "chat", Seconds: 12}}
	for name, text := range map[string]string{
		"plain":               timedColumns + "\n0,chat,52\n1500,chat,12000\n",
		"as a program quotes": "\"t_ms\", \"service\", \"slot_ms\"\r\n0,\"chat\",52.4\r\n1500.9, \"chat\", 12000.1\r\n",
	} {
		got, err := readAll([]byte(text), 1)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestATraceInUnixTimeBeginsAtItsFirstMinute(t *testing.T) {
	begins := time.Date(2025, 11, 20, 7, 3, 0, 0, time.UTC)
	for _, c := range []struct{ name, text, relative string }{
		{"requests", "t_ms,service,slot_ms\n1763622181500,chat,10\n1763622301000,chat,10\n", "t_ms,service,slot_ms\n1500,chat,10\n121000,chat,10\n"},
		{"counts", countColumns + "\n29393703,chat,3\n29393763,chat,1\n", countColumns + "\n0,chat,3\n60,chat,1\n"},
		{"recorded", recordedColumns + "\n29393703,chat,3,20,\n29393704,chat,1,10,\n", recordedColumns + "\n0,chat,3,20,\n1,chat,1,10,\n"},
	} {
		trace, err := NewTrace(strings.NewReader(c.text), "t.csv", DefaultDurations(), 1)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if got := trace.Begins(); !got.Equal(begins) {
			t.Errorf("%s begin at %v, not at %v", c.name, got, begins)
		}
		got, err := readAll([]byte(c.text), 1)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		want, _ := readAll([]byte(c.relative), 1)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
	if trace, err := NewTrace(strings.NewReader(twoRequests), "t.csv", DefaultDurations(), 1); err != nil || !trace.Begins().IsZero() {
		t.Errorf("a trace that counts from its own start begins at %v (%v)", trace.Begins(), err)
	}
}

func TestCountsAreSpreadInsideTheirMinuteAlikeForOneSeed(t *testing.T) {
	text := []byte(countColumns + "\n0,web,3\n0,api,1\n2,web,2\n")
	first, err := readAll(text, 7)
	if err != nil {
		t.Fatal(err)
	}
	again, _ := readAll(text, 7)
	other, _ := readAll(text, 8)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("one seed, two traces:\n%s", diff)
	}
	if cmp.Equal(first, other) {
		t.Error("two seeds gave one trace")
	}
	if len(first) != 6 {
		t.Fatalf("%d requests, want 6", len(first))
	}
	for i, r := range first {
		if i > 0 && r.At < first[i-1].At {
			t.Errorf("request %d comes before the one before it", i)
		}
		if minute := int(r.At / time.Minute); (i < 4) != (minute == 0) || i >= 4 && minute != 2 {
			t.Errorf("request %d is at %v", i, r.At)
		}
	}
}

func TestTwoLinesOfOneServiceAndMinuteAreNotTheSameRequestsTwice(t *testing.T) {
	got, err := readAll([]byte(countColumns+"\n0,web,3\n0,api,1\n0,web,3\n"), 7)
	if err != nil || len(got) != 7 {
		t.Fatalf("%d requests, %v; want 7", len(got), err)
	}
	met := map[Request]bool{}
	for _, r := range got {
		if met[r] {
			t.Errorf("%+v comes twice", r)
		}
		met[r] = true
	}
	alone, _ := readAll([]byte(countColumns+"\n0,web,3\n"), 7)
	for _, r := range alone {
		if !met[r] {
			t.Errorf("%+v is gone: the first line has to be drawn as if it were the only one", r)
		}
	}
}

func TestAWrongTraceIsRefusedWithFileAndLine(t *testing.T) {
	cut := zipped(t, twoRequests+strings.Repeat("2000,chat,1,1\n", 5000))
	for _, c := range []struct {
		name, text, want string
	}{
		{"nothing", "", `t.csv:1: is empty; the first line is "t_ms,service,input_tokens,output_tokens", "t_ms,service,slot_ms", "minute,service,count" or "minute,service,count,second,slot_ms"`},
		{"other columns", "time,name\n", `t.csv:1: columns are "time,name"; allowed: "t_ms,service,input_tokens,output_tokens", "t_ms,service,slot_ms", "minute,service,count" or "minute,service,count,second,slot_ms"`},
		{"a column too few", requestColumns + "\n0,chat,1\n", `t.csv:2: 4 columns are expected, and there are 3: "0,chat,1"`},
		{"a column too many", countColumns + "\n0,web,1,2\n", `t.csv:2: 3 columns are expected, and there are 4: "0,web,1,2"`},
		{"unsorted", requestColumns + "\n5,chat,1,1\n4,chat,1,1\n", "t.csv:3: t_ms: 4 comes after 5: a trace is sorted by time"},
		{"a negative time", requestColumns + "\n-5,chat,1,1\n", "t.csv:2: t_ms: -5 is out of range; allowed: a whole number from 0 to 315360000000, or Unix time in milliseconds"},
		{"negative tokens", requestColumns + "\n5,chat,-1,1\n", "t.csv:2: input_tokens: -1 is out of range; allowed: a whole number from 0 to 10000000"},
		{"text for a number", requestColumns + "\n5,chat,1,many\n", `t.csv:2: output_tokens: "many" is not a whole number from 0 to 10000000`},
		{"not a number", requestColumns + "\n5,chat,NaN,1\n", `t.csv:2: input_tokens: "NaN" is not a whole number from 0 to 10000000`},
		{"too many in a minute", countColumns + "\n0,web,1000001\n", "t.csv:2: count: 1000001 is out of range; allowed: a whole number from 0 to 1000000"},
		{"too long in a slot", timedColumns + "\n0,chat,86400001\n", "t.csv:2: slot_ms: 86400001 is out of range; allowed: a whole number from 0 to 86400000"},
		{"Unix time in microseconds", timedColumns + "\n1763596800000000,chat,1\n", "t.csv:2: t_ms: 1763596800000000 is out of range; allowed: a whole number from 0 to 315360000000, or Unix time in milliseconds"},
		{"Unix minutes that jump", countColumns + "\n29393280,web,1\n99393280,web,1\n", "t.csv:3: minute: 99393280 is out of range; allowed: Unix time as in the first line, up to ten years later: 29393280 to 34649280"},
		{"a moment that becomes relative", timedColumns + "\n1763596800000,chat,1\n5,chat,1\n", "t.csv:3: t_ms: 5 comes after 1763596800000: a trace is sorted by time"},
		{"a log as it was written", timedColumns + "\n1763596800009,chat,1\n1763596800001,chat,1\n", "t.csv:3: t_ms: 1763596800001 comes after 1763596800009: a trace is sorted by time"},
		{"a second between steps", recordedColumns + "\n0,web,1,15,\n", "t.csv:2: second: 15 is not the beginning of a step; allowed: multiples of 10"},
		{"a second too late", recordedColumns + "\n0,web,1,60,\n", "t.csv:2: second: 60 is out of range; allowed: a whole number from 0 to 59"},
		{"steps unsorted", recordedColumns + "\n1,web,1,0,\n0,web,1,50,\n", "t.csv:3: the step of minute and second: 5 comes after 6"},
		{"times that fall", recordedColumns + "\n0,web,1,0,1000x1 900x2\n", `t.csv:2: slot_ms: "900x2": allowed: times with weights, rising, such as "1000x12 1189x40"`},
		{"a time without a weight", recordedColumns + "\n0,web,1,0,1000\n", `t.csv:2: slot_ms: "1000": allowed`},
		{"a negative slot time", recordedColumns + "\n0,web,1,0,-1x1\n", `t.csv:2: slot_ms: "-1x1": allowed`},
		{"not a number, and first", timedColumns + "\nNaN,chat,1\n", `t.csv:2: t_ms: "NaN" is not a whole number from 0 to 315360000000, or Unix time in milliseconds`},
		{"tokens for days", requestColumns + "\n5,chat,0,9000000\n", "t.csv:2: input_tokens, output_tokens: 0 and 9000000 take 62h30m0s in a slot, at 300µs and 25ms each; allowed: up to 24h0m0s"},
		{"endless", requestColumns + "\n5,chat,1,+Inf\n", `t.csv:2: output_tokens: "+Inf" is not a whole number from 0 to 10000000`},
		{"a number too large for a float", requestColumns + "\n1e400,chat,1,1\n", `t.csv:2: t_ms: "1e400" is not a whole number from 0 to 315360000000, or Unix time in milliseconds`},
		{"a number too large for a trace", requestColumns + "\n99999999999999999999,chat,1,1\n", `t.csv:2: t_ms: "99999999999999999999" is not a whole number`},
		{"a little less than nothing", requestColumns + "\n-0.5,chat,1,1\n", "t.csv:2: t_ms: -0.5 is out of range"},
		{"a wrong line behind CRLF", requestColumns + "\r\n0,chat,1,1\r\n0,chat,1\r\n", "t.csv:3: 4 columns are expected, and there are 3"},
		{"a mark and nothing else", "\ufeff", `t.csv:1: columns are "\ufeff"`},
		{"UTF-16", "\xff\xfet\x00_\x00", `t.csv:1: columns are "\xff\xfet\x00_\x00"; allowed: `},
		{"blank lines only", "\n\r\n\n", "t.csv:4: is empty"},
		{"a header and no more", requestColumns + "\n", "t.csv:2: the trace has no requests: there is nothing to replay"},
		{"counts of nothing", countColumns + "\n0,web,0\n7,web,0\n", "t.csv:4: the trace has no requests: there is nothing to replay"},
		{"a recording of nothing", recordedColumns, "t.csv:2: the trace has no requests: there is nothing to replay"},
		{"no service", requestColumns + "\n5,,1,1\n", `t.csv:2: service: "" is no name; allowed: 1 to 200 characters`},
		{"an endless line", requestColumns + "\n" + strings.Repeat("9", 5000), "t.csv:2: is longer than 4096 bytes; allowed: lines of "},
		{"a cut gzip", string(cut[:len(cut)-12]), "the gzip file ends early: it was cut"},
		{"a gzip cut in its header", "\x1f\x8bxx", "t.csv:1: the gzip file ends early: it was cut; get or compress it again"},
		{"no gzip after all", "\x1f\x8b" + strings.Repeat("x", 20), "t.csv:1: the gzip file is damaged: gzip: invalid header; get or compress it again"},
	} {
		_, err := readAll([]byte(c.text), 1)
		var wrong *TraceError
		if !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func TestMoreRequestsAtOnceThanCanBeInMemoryAreRefused(t *testing.T) {
	text := countColumns + "\n" + strings.Repeat("0,web,1000000\n", 5) + strings.Repeat("1,web,1000000\n", 6)
	trace, err := NewTrace(strings.NewReader(text), "t.csv", DefaultDurations(), 1)
	for err == nil {
		_, err = trace.scanMinute() // without the requests themselves
	}
	if want := "t.csv:12: count: this makes 6000000 requests of all services in one step; allowed: 5000000"; err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWhereverAGzipIsCutThatIsSaidAndNoPartOfALineIsTakenForOne(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	var text strings.Builder
	text.WriteString(requestColumns + "\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "%d,chat,%d,7%03d\n", 1000*i, draw.IntN(5000), draw.IntN(1000))
	}
	whole := zipped(t, text.String())
	for at := 100; at < len(whole); at += 211 {
		got, err := readAll(whole[:at], 1)
		if err == nil || !strings.Contains(err.Error(), "the gzip file ends early: it was cut") {
			t.Fatalf("cut after %d of %d bytes: %v", at, len(whole), err)
		}
		if n := len(got); n > 0 && got[n-1].Seconds < 7000*DefaultDurations().Output.Seconds() {
			t.Fatalf("cut after %d bytes: %+v is a part of a line", at, got[n-1])
		}
	}
}

func TestADamagedGzipIsToldAsSuchAndNotAsAWrongLine(t *testing.T) {
	draw := rand.New(rand.NewPCG(3, 4))
	var text strings.Builder
	text.WriteString(requestColumns + "\n")
	for i := range 2000 {
		fmt.Fprintf(&text, "%d,chat,%d,%d\n", 1000*i, draw.IntN(5000), draw.IntN(1000))
	}
	whole := zipped(t, text.String())
	if got, err := readAll(whole, 1); err != nil || len(got) != 2000 {
		t.Fatalf("undamaged: %d requests, %v", len(got), err)
	}
	// A flip may leave a file that reads as one that was cut; its header is not checked.
	for at := 10; at < len(whole); at += 97 {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x5a
		_, err := readAll(damaged, 1)
		var wrong *TraceError
		if !errors.As(err, &wrong) || wrong.File != "t.csv" || wrong.Line < 1 || wrong.Line > 2100 || !strings.HasPrefix(wrong.Message, "the gzip file ") ||
			!strings.HasSuffix(wrong.Message, ", at or before this line; get or compress it again") {
			t.Errorf("byte %d of %d is flipped: %v", at, len(whole), err)
		}
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"its last byte":          {append(bytes.Clone(whole[:len(whole)-5]), append([]byte{whole[len(whole)-5] ^ 1}, whole[len(whole)-4:]...)...), "its checksum does not match"},
		"a tail that is no gzip": {append(bytes.Clone(whole), "tail"...), "what follows the compressed part is not gzip"},
		"a tail of one byte":     {append(bytes.Clone(whole), 0), "what follows the compressed part is not gzip"},
	} {
		if _, err := readAll(c.file, 1); err == nil || !strings.Contains(err.Error(), "t.csv:2002: the gzip file is damaged: "+c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A wrong line of a whole file is that line's fault, and two parts are one file.
	parts := append(zipped(t, twoRequests), zipped(t, "2000,chat,1,1\n1900,chat,1,1\n")...)
	if _, err := readAll(parts, 1); err == nil || !strings.Contains(err.Error(), "t.csv:6: t_ms: 1900 comes after 2000") {
		t.Errorf("a wrong line in a second part: %v", err)
	}
}

func FuzzTrace(f *testing.F) {
	f.Add([]byte(twoRequests))
	f.Add([]byte(countColumns + "\n0,web,3\n1,web,0\n"))
	f.Add([]byte(recordedColumns + "\n0,web,3,10,100x2 900x1\n1,web,2,0,\n"))
	f.Add(zipped(f, twoRequests))
	f.Fuzz(func(t *testing.T, text []byte) {
		trace, err := NewTrace(bytes.NewReader(text), "t.csv", DefaultDurations(), 1)
		var last time.Duration
		for n := 0; err == nil && n < 10_000; n++ {
			var r Request
			if r, err = trace.Next(); n == 0 && errors.Is(err, io.EOF) {
				t.Fatal("a trace without requests is read")
			}
			if err == nil {
				if r.At < last || r.Seconds <= 0 || r.Service == "" {
					t.Fatalf("after %v: %+v", last, r)
				}
				last = r.At
			}
		}
		var wrong *TraceError
		if err != nil && !errors.Is(err, io.EOF) && !errors.As(err, &wrong) {
			t.Fatalf("%T: %v", err, err)
		}
	})
}
