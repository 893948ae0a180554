package translate

import (
	"errors"
	"slices"
	"strings"
	"sync"

	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// maxCodeBytes bounds a language code; the longest sensible BCP 47 tags are
// about 35 bytes.
const maxCodeBytes = 64

var (
	errIllFormed = errors.New("is not a well-formed BCP 47 language code")
	errUnknown   = errors.New("is not a known language code")
)

// parseCode reads a BCP 47 code, also with underscores, and insists that it
// names a language. Nothing is canonicalised yet.
func parseCode(code string) (language.Tag, error) {
	if len(code) > maxCodeBytes {
		return language.Und, errIllFormed
	}
	tag, err := language.Raw.Parse(strings.ReplaceAll(strings.TrimSpace(code), "_", "-"))
	var unknown language.ValueError
	switch {
	case errors.As(err, &unknown):
		return language.Und, errUnknown
	case err != nil:
		return language.Und, errIllFormed
	}
	// und, mul, zxx and private use (x-…) name no one language.
	switch base, _, _ := tag.Raw(); base.String() {
	case "und", "mul", "mis", "zxx":
		return language.Und, errUnknown
	}
	return tag, nil
}

// codeError tells a client about its language code. What the client wrote is
// quoted only if it could be a code.
func codeError(field, code string, err error) *FieldError {
	e := &FieldError{Field: field, Message: err.Error()}
	if code == "" {
		e.Message = "must not be empty"
	} else if len(code) <= maxCodeBytes {
		e.Message = `"` + code + `" ` + e.Message
	}
	if errors.Is(err, errIllFormed) || code == "" {
		e.Allowed = "BCP 47 codes such as en, es, pt-BR, zh-Hans"
	}
	return e
}

// renamed are codes with one right spelling, before anything falls back to its
// base language: withdrawn ISO 639-1 codes, and the Chinese and Filipino variants
// in the form that TranslateGemma was trained with.
var renamed = map[string]string{
	"iw": "he", "in": "id", "ji": "yi", "jw": "jv", "mo": "ro", "sh": "sr-Latn",
	"cmn":   "zh",
	"fil":   "fil-PH",
	"zh-CN": "zh-Hans", "zh-SG": "zh-Hans", "zh-Hans-CN": "zh-Hans",
	"zh-HK": "zh-Hant-HK", "zh-MO": "zh-Hant", "zh-Hant-TW": "zh-TW",
}

// Normalise returns the code in the spelling that the adapters work with:
// hyphens, canonical case, ISO 639-1 where there is one (eng → en), withdrawn
// codes replaced (iw → he), Chinese by script. It fails if code is ill-formed or
// names no language.
func Normalise(code string) (string, error) {
	tag, err := parseCode(code)
	if err != nil {
		return "", err
	}
	s := tag.String()
	if to, ok := renamed[s]; ok {
		return to, nil
	}
	base, rest, found := strings.Cut(s, "-")
	if to, ok := renamed[base]; ok && found && !strings.Contains(to, "-") {
		return Normalise(to + "-" + rest) // iw-IL → he-IL
	}
	return s, nil
}

// baseOf is the language alone: pt-BR → pt.
func baseOf(code string) string {
	base, _, _ := strings.Cut(code, "-")
	return base
}

// ISO3 returns the ISO 639-3 code of a code's language, en-GB → eng; "" if it
// names none.
func ISO3(code string) string {
	tag, err := parseCode(code)
	if err != nil {
		return ""
	}
	base, _, _ := tag.Raw()
	return base.ISO3()
}

// modelNames are languages that TranslateGemma calls by another English name
// than CLDR does.
var modelNames = map[string]string{
	"bn": "Bengali", "ht": "Haitian", "km": "Central Khmer", "no": "Norwegian",
	"ny": "Chichewa", "or": "Oriya", "os": "Ossetian", "tl": "Tagalog", "to": "Tonga",
}

// EnglishName returns the English name of a code's language without script and
// region, as TranslateGemma's prompt has it: zh-Hant-HK → Chinese; "" if it
// names none.
func EnglishName(code string) string {
	tag, err := parseCode(code)
	if err != nil {
		return ""
	}
	base, _, _ := tag.Raw()
	if name, ok := modelNames[base.String()]; ok {
		return name
	}
	return display.English.Languages().Name(base)
}

// modelBases are the languages that TranslateGemma's own template knows by their
// ISO 639-1 code, and modelVariants the codes with script or region that are
// kept apart: Chinese, Serbian and Filipino, and where the model was trained on
// several countries' varieties of one language (WMT24++).
const (
	modelBases = `aa ab af ak am an ar as az ba be bg bm bn bo br bs ca ce co cs cv cy da de dv dz
		ee el en eo es et eu fa ff fi fo fr fy ga gd gl gn gu gv ha he hi hr ht hu hy ia id ie ig ii ik
		io is it iu ja jv ka ki kk kl km kn ko ks ku kw ky la lb lg ln lo lt lu lv mg mi mk ml mn mr ms
		mt my nb nd ne nl nn no nr nv ny oc om or os pa pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk
		sl sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt ug uk ur uz ve vi vo wa wo xh
		yi yo za zh zu`
	modelVariants = `ar-EG ar-SA es-MX fil-PH fr-CA pt-BR pt-PT sr-Cyrl sr-Latn sw-KE sw-TZ
		zh-Hans zh-Hant zh-Hant-HK zh-TW`
)

// modelCodes is the sorted list of codes that TranslateGemma is asked with.
var modelCodes = sync.OnceValue(func() []string {
	codes := append(strings.Fields(modelBases), strings.Fields(modelVariants)...)
	slices.Sort(codes)
	return codes
})

// modelCode normalises a code for TranslateGemma: the variant if the model knows
// it, else its base language.
func modelCode(field, code string) (string, *FieldError) {
	normal, err := Normalise(code)
	if err != nil {
		return "", codeError(field, code, err)
	}
	for _, c := range []string{normal, scriptOf(normal), baseOf(normal)} {
		if _, ok := slices.BinarySearch(modelCodes(), c); ok {
			return c, nil
		}
	}
	return "", &FieldError{Field: field,
		Message: `"` + code + `" is not a language of this model`,
		Allowed: strings.Join(modelCodes(), ", ")}
}

// scriptOf is language and script without a region: zh-Hans-SG → zh-Hans.
func scriptOf(code string) string {
	parts := strings.Split(code, "-")
	if len(parts) > 1 && len(parts[1]) == 4 {
		return parts[0] + "-" + parts[1]
	}
	return code
}
