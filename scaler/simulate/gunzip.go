package simulate

import (
	"bufio"
	"compress/flate"
	"compress/gzip"
	"errors"
	"io"
)

// gunzip reads what was compressed. It remembers how that ended, because damage
// seldom shows where it is: what comes of a damaged place are wrong letters, and
// only the checksum at the end tells them from what was written.
type gunzip struct {
	from *bufio.Reader
	z    *gzip.Reader
	err  error // the first; io.EOF at a good end
}

// errTrailing is of a file in which something comes after the compressed part.
var errTrailing = errors.New("what follows the compressed part is not gzip")

func newGunzip(from *bufio.Reader) (*gunzip, error) {
	z, err := gzip.NewReader(from)
	if err != nil {
		return nil, err
	}
	z.Multistream(false) // its own errors do not tell a cut part from one that is none
	return &gunzip{from: from, z: z}, nil
}

func (g *gunzip) Read(b []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.z.Read(b)
	if errors.Is(err, io.EOF) {
		err = g.another()
	}
	g.err = err
	return n, err
}

// another goes on with the next part of a file of several.
func (g *gunzip) another() error {
	switch magic, err := g.from.Peek(2); {
	case len(magic) == 0:
		return err // io.EOF, or what the disk says
	case !isGzip(magic):
		return errTrailing
	}
	if err := g.z.Reset(g.from); err != nil {
		return err
	}
	g.z.Multistream(false)
	return nil
}

func isGzip(magic []byte) bool { return len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b }

// judgedBytes is how much is read after a wrong line to tell whether the
// compression is to blame: a second or two of it.
const judgedBytes = 256 << 20

// judge reads on to the end, and returns what is wrong with the compression, or
// "" if nothing is, as far as it was read.
func (g *gunzip) judge() string {
	_, err := io.CopyN(io.Discard, g, judgedBytes)
	return compressionFault(err)
}

// compressionFault says in words what is wrong with a gzip file; "" if err is of
// something else.
func compressionFault(err error) string {
	var corrupt flate.CorruptInputError
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the gzip file ends early: it was cut"
	case errors.Is(err, errTrailing):
		return "the gzip file is damaged: " + err.Error()
	case errors.Is(err, gzip.ErrChecksum):
		return "the gzip file is damaged: its checksum does not match"
	case errors.Is(err, gzip.ErrHeader), errors.As(err, &corrupt):
		return "the gzip file is damaged: " + err.Error()
	default:
		return ""
	}
}
