package translate

import (
	"strings"
	"unicode/utf8"
)

const (
	startOfTurn = "<start_of_turn>"
	endOfTurn   = "<end_of_turn>"
)

// controlTokens are the strings that Gemma's tokenizer reads as structure. In
// the middle of a text they would end the user's turn or start another.
var controlTokens = []string{
	startOfTurn, endOfTurn, "<bos>", "<eos>", "<pad>",
	"<start_of_image>", "<end_of_image>", "<image_soft_token>",
}

// promptTemplate is TranslateGemma's (4B, 12B, 27B), to the byte. Engines add
// <bos> themselves.
const promptTemplate = startOfTurn + `user
You are a professional {SRC} ({src}) to {TGT} ({tgt}) translator. Your goal is to accurately convey the meaning and nuances of the original {SRC} text while adhering to {TGT} grammar, vocabulary, and cultural sensitivities.
Produce only the {TGT} translation, without any additional explanations or commentary. Please translate the following {SRC} text into {TGT}:


{TEXT}` + endOfTurn + `
` + startOfTurn + `model
`

// prompt fills the template; text has no control tokens any more.
func prompt(source, target, text string) string {
	// One pass: braces in the text are not looked at again.
	return strings.NewReplacer(
		"{SRC}", EnglishName(source), "{src}", source,
		"{TGT}", EnglishName(target), "{tgt}", target,
		"{TEXT}", text,
	).Replace(promptTemplate)
}

// removeControlTokens removes them until none is left, also those that only
// come together when one between their halves has gone. Linear in the text.
func removeControlTokens(text string) string {
	if !strings.Contains(text, "<") {
		return text
	}
	out := make([]byte, 0, len(text))
	for i := range len(text) {
		out = append(out, text[i])
		if text[i] != '>' {
			continue
		}
		for _, token := range controlTokens {
			if n := len(out) - len(token); n >= 0 && string(out[n:]) == token {
				out = out[:n]
				break
			}
		}
	}
	return string(out)
}

// estimateTokens counts high rather than low, without the model's tokenizer:
// ASCII three characters a token (English has about four and a half), each digit
// one, letters of the alphabets below U+0800 two for three, all others one, and
// beyond the basic plane (emoji, rare Han) two.
func estimateTokens(text string) int {
	thirds := 0
	for _, r := range text {
		switch {
		case r >= '0' && r <= '9':
			thirds += 3
		case r < utf8.RuneSelf:
			thirds++
		case r < 0x0800:
			thirds += 2
		case r <= 0xFFFF:
			thirds += 3
		default:
			thirds += 6
		}
	}
	return (thirds + 2) / 3
}
