package translate

import (
	"errors"
	"slices"
	"testing"
)

func TestNormaliseSpellsCodesAsTheAdaptersDo(t *testing.T) {
	for code, want := range map[string]string{
		"en": "en", "EN": "en", " es ": "es", "eng": "en", "spa": "es",
		"en_US": "en-US", "pt-br": "pt-BR", "zh_CN": "zh-Hans", "zh-CN": "zh-Hans",
		"zh-TW": "zh-TW", "zh-HK": "zh-Hant-HK", "zh-Hans": "zh-Hans", "zh-Hant": "zh-Hant",
		"zh-hant-tw": "zh-TW", "zh-SG": "zh-Hans", "cmn": "zh",
		"fil": "fil-PH", "fil-PH": "fil-PH", "tl": "tl",
		"iw": "he", "iw-IL": "he-IL", "in": "id", "in_ID": "id-ID", "ji": "yi", "mo": "ro", "sh": "sr-Latn",
	} {
		got, err := Normalise(code)
		if err != nil || got != want {
			t.Errorf("%q: %q, error %v; want %q", code, got, err, want)
		}
	}
	for code, want := range map[string]error{
		"": errIllFormed, "e": errIllFormed, "english": errIllFormed, "en--US": errIllFormed, "auto": errIllFormed,
		"xx": errUnknown, "und": errUnknown, "mul": errUnknown, "x-foo": errUnknown,
	} {
		if _, err := Normalise(code); !errors.Is(err, want) {
			t.Errorf("%q: error %v, want %v", code, err, want)
		}
	}
}

func TestTheModelIsAskedInCodesThatItKnows(t *testing.T) {
	for code, want := range map[string]string{
		"en": "en", "en-GB": "en", "eng": "en", "de-AT": "de", "es-AR": "es", "es-MX": "es-MX",
		"pt_BR": "pt-BR", "pt-AO": "pt", "fr-CA": "fr-CA", "fr-FR": "fr",
		"zh": "zh", "zh-CN": "zh-Hans", "zh-TW": "zh-TW", "zh-HK": "zh-Hant-HK", "zh-Hans-MY": "zh-Hans",
		"sr": "sr", "sr-Latn-RS": "sr-Latn", "sh": "sr-Latn", "fil": "fil-PH", "iw": "he", "in": "id", "iw-IL": "he",
		"en-Latn-US-x-twain": "en",
	} {
		got, err := modelCode(FieldTarget, code)
		if err != nil || got != want {
			t.Errorf("%q: %q, error %v; want %q", code, got, err, want)
		}
	}
	for _, code := range []string{"tlh", "ae", "ast"} {
		if got, err := modelCode(FieldTarget, code); err == nil || err.Allowed == "" {
			t.Errorf("%q: %q, error %v; want the list of languages", code, got, err)
		}
	}
}

func TestEveryCodeOfTheModelHasANameAndStaysItself(t *testing.T) {
	if n := len(modelCodes()); n != len(slices.Compact(slices.Clone(modelCodes()))) || n < 150 {
		t.Errorf("%d codes, some twice or some missing", n)
	}
	for _, code := range modelCodes() {
		if EnglishName(code) == "" {
			t.Errorf("%s has no name", code)
		}
		if got, err := modelCode(FieldTarget, code); err != nil || got != code {
			t.Errorf("%s becomes %q, error %v", code, got, err)
		}
	}
}

func TestLanguagesHaveISO639_3CodesAndEnglishNames(t *testing.T) {
	for _, c := range []struct{ code, iso3, name string }{
		{"en", "eng", "English"}, {"es", "spa", "Spanish"}, {"es-MX", "spa", "Spanish"}, {"fr", "fra", "French"},
		{"de", "deu", "German"}, {"zh-Hant-HK", "zho", "Chinese"}, {"zh-Hans", "zho", "Chinese"}, {"he", "heb", "Hebrew"},
		{"fil-PH", "fil", "Filipino"}, {"bn", "ben", "Bengali"}, {"no", "nor", "Norwegian"}, {"nb", "nob", "Norwegian Bokmål"},
		{"ca", "cat", "Catalan"}, {"ast", "ast", "Asturian"}, {"", "", ""}, {"xx", "", ""},
	} {
		if got := ISO3(c.code); got != c.iso3 {
			t.Errorf("ISO3(%q) = %q, want %q", c.code, got, c.iso3)
		}
		if got := EnglishName(c.code); got != c.name {
			t.Errorf("EnglishName(%q) = %q, want %q", c.code, got, c.name)
		}
	}
}
