package decide

import (
	"cmp"
	"encoding/binary"
	"iter"
	"math"
	"slices"

	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/pb/sketchpb"
	"google.golang.org/protobuf/proto"
)

const (
	latencyAccuracy = 0.01     // relative error of the sketches
	maxBins         = 256      // of one bucket: a factor of 160 between its slowest request and those collapsed
	maxSketch       = 64 << 10 // bytes; a longer one is not ours
)

// latencyMapping is the mapping of sketches with 1 % relative error that the
// activators use by default; others are re-indexed by value.
var latencyMapping = func() mapping.IndexMapping {
	m, err := mapping.NewDefaultMapping(latencyAccuracy)
	if err != nil {
		panic(err) // a constant
	}
	return m
}()

// No request is faster or slower than this, in seconds; what claims to be is
// counted at the end of the scale, which keeps a merged sketch small.
const fastest, slowest = 1e-6, 1e6

var lowestBin, highestBin = latencyMapping.Index(fastest), latencyMapping.Index(slowest)

// bin of a sketch: how many values have an index of latencyMapping.
type bin struct {
	index int
	count uint64
}

// binsOf decodes a sketch; false if it is not one.
func binsOf(sketch []byte) ([]bin, bool) {
	if len(sketch) == 0 || len(sketch) > maxSketch {
		return nil, false
	}
	var pb sketchpb.DDSketch
	if err := proto.Unmarshal(sketch, &pb); err != nil || pb.Mapping == nil {
		return nil, false
	}
	scale, err := mapping.FromProto(pb.Mapping)
	if err != nil {
		return nil, false
	}
	// Its stores are read as they were sent: a dense one would allocate whatever
	// span of indexes it is told, and a sparse one a map.
	same := scale.Equals(latencyMapping)
	positive := pb.GetPositiveValues()
	bins := make([]bin, 0, 1+len(positive.GetBinCounts())+len(positive.GetContiguousBinCounts()))
	add := func(index int, count float64) {
		if count >= 0.5 && count < 1<<32 {
			bins = append(bins, bin{min(max(index, lowestBin), highestBin), uint64(math.Round(count))})
		}
	}
	add(lowestBin, pb.GetZeroCount())
	value := func(index int, count float64) {
		if !same {
			index = latencyMapping.Index(min(max(scale.Value(index), fastest), slowest))
		}
		add(index, count)
	}
	for index, count := range positive.GetBinCounts() {
		value(int(index), count)
	}
	for i, count := range positive.GetContiguousBinCounts() {
		value(int(positive.GetContiguousBinIndexOffset())+i, count)
	}
	if len(bins) == 0 {
		return nil, false
	}
	slices.SortFunc(bins, func(a, b bin) int { return cmp.Compare(a.index, b.index) })
	return collapse(bins), true
}

// collapse joins bins of one index, and the lowest ones beyond maxBins.
func collapse(bins []bin) []bin {
	out := bins[:0]
	for _, b := range bins {
		if n := len(out); n > 0 && out[n-1].index == b.index {
			out[n-1].count += b.count
		} else {
			out = append(out, b)
		}
	}
	if over := len(out) - maxBins; over > 0 {
		for _, b := range out[:over] {
			out[over].count += b.count
		}
		out = out[over:]
	}
	return out
}

func mergeBins(a, b []bin) []bin {
	all := slices.Concat(a, b)
	slices.SortFunc(all, func(x, y bin) int { return cmp.Compare(x.index, y.index) })
	return collapse(all)
}

// packBins writes bins as varints: differences of indexes, counts.
func packBins(bins []bin) []byte {
	out := make([]byte, 0, 3*len(bins))
	last := 0
	for _, b := range bins {
		out = binary.AppendVarint(out, int64(b.index-last))
		out = binary.AppendUvarint(out, b.count)
		last = b.index
	}
	return out
}

func unpackBins(packed []byte) []bin {
	bins := make([]bin, 0, len(packed)/2)
	for index, count := range packedBins(packed) {
		bins = append(bins, bin{index, count})
	}
	return bins
}

// packedBins goes through what packBins has written: index, count.
func packedBins(packed []byte) iter.Seq2[int, uint64] {
	return func(yield func(int, uint64) bool) {
		index := 0
		for len(packed) > 0 {
			d, n := binary.Varint(packed)
			if n <= 0 {
				return
			}
			packed = packed[n:]
			count, n := binary.Uvarint(packed)
			if n <= 0 {
				return
			}
			packed = packed[n:]
			index += int(d)
			if !yield(index, count) {
				return
			}
		}
	}
}
