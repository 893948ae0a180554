package decide

import (
	"encoding/binary"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestGapsAreWeighedInOrderOfTheirLength(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		longest := rapid.SampledFrom([]int{3, 255, 256, 5000, 70_000, 604_800}).Draw(t, "longest")
		lengths := rapid.SliceOfN(rapid.IntRange(1, longest), 0, maxGaps+20).Draw(t, "lengths")
		now := epoch.Add(time.Duration(rapid.IntRange(0, 20*24*3600).Draw(t, "later")) * time.Second)
		var b Band
		for i, s := range lengths {
			b = b.append(epoch.Unix()+int64(600*i), int64(s), maxGaps)
		}
		past := b.past()
		slices.SortStableFunc(past, func(a, b gap) int { return int(a.seconds - b.seconds) })
		w := weighedAt(b, now)
		if w.n != len(past) || w.n != min(len(lengths), maxGaps) {
			t.Fatalf("%d weighed of %d", w.n, len(past))
		}
		sum, total := 0.0, 0.0
		for i, g := range past {
			if w.length(i) != float64(g.seconds) {
				t.Fatalf("gap %d is of %gs, want %d", i, w.length(i), g.seconds)
			}
			weight := math.Exp2(-float64(max(0, now.Unix()-g.opened)) / gapHalfLife)
			apart := (now.Unix() - g.opened) % (24 * 3600)
			if apart = max(apart, -apart); min(apart, 24*3600-apart) > sameTime {
				weight *= otherTime
			}
			sum, total = sum+weight*float64(g.seconds), total+weight
			if math.Abs(w.weight[i+1]-total) > 1e-13*total || math.Abs(w.sum[i+1]-sum) > 1e-13*sum {
				t.Fatalf("of the first %d: weight %g and sum %g, want %g and %g", i+1, w.weight[i+1], w.sum[i+1], total, sum)
			}
		}
	})
}

func TestAGapWeighsHalfEachWeek(t *testing.T) {
	for age := int64(0); age < 70*24*3600; age += 97 {
		if got, want := faded(age), math.Exp2(-float64(age)/gapHalfLife); math.Abs(got-want) > 2e-15*want {
			t.Fatalf("after %d s %g, want %g", age, got, want)
		}
	}
	if got := faded(math.MaxInt64); got != 0 {
		t.Errorf("after an age of ages %g, want nothing", got)
	}
}

// What is appended to a band is what packing all of its gaps anew would give, and
// the band before stays as it was.
func TestAppendingAGapPacksTheSameBytesAsPackingAll(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most := rapid.IntRange(2, 5).Draw(t, "most")
		var b Band
		var all []gap
		for range rapid.IntRange(1, 12).Draw(t, "gaps") {
			opened := b.Last + int64(rapid.IntRange(-5, 100_000).Draw(t, "after"))
			length := int64(rapid.IntRange(1, 604_800).Draw(t, "length"))
			before := slices.Clone(b.Packed)
			next := b.append(opened, length, most)
			if !slices.Equal(before, b.Packed) {
				t.Fatal("the band before was written")
			}
			all = append(all, gap{max(opened, b.Last), length})
			all = all[max(0, len(all)-most):]
			b = next
			var want []byte
			last := int64(0)
			for _, g := range all {
				want = binary.AppendUvarint(want, uint64(g.opened-last))
				want = binary.AppendUvarint(want, uint64(g.seconds))
				last = g.opened
			}
			if diff := cmp.Diff(Band{Count: len(all), Last: last, Packed: want}, b); diff != "" {
				t.Fatal(diff)
			}
		}
	})
}

func TestABandThatIsCutIsBegunAnew(t *testing.T) {
	b := Band{Count: maxGaps, Last: 100, Packed: []byte{7}}.append(1000, 60, maxGaps)
	if got := b.past(); b.Count != 1 || len(got) != 1 || got[0] != (gap{1000, 60}) {
		t.Errorf("%+v: gaps %v", b, got)
	}
}
