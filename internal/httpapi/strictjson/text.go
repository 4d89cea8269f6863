package strictjson

import (
	"unicode/utf16"
	"unicode/utf8"
)

// str reads a string. The reason, when not empty, says why it is no text
// although it is JSON: an escape that names no character, or NUL.
func (p *parser) str() (text, reason string, err error) {
	p.at++ // "
	start := p.at
	for p.at < len(p.data) && p.data[p.at] != '"' && p.data[p.at] != '\\' && p.data[p.at] >= 0x20 && p.data[p.at] < utf8.RuneSelf {
		p.at++
	}
	if p.at < len(p.data) && p.data[p.at] == '"' { // as most are
		p.at++
		return string(p.data[start : p.at-1]), "", nil
	}
	out := append([]byte(nil), p.data[start:p.at]...)
	for p.at < len(p.data) {
		switch c := p.data[p.at]; {
		case c == '"':
			p.at++
			return string(out), reason, nil
		case c < 0x20:
			return "", "", p.broken("a control character must be escaped")
		case c == '\\':
			r, why, err := p.escape()
			if err != nil {
				return "", "", err
			}
			if why != "" {
				reason = why
			}
			out = utf8.AppendRune(out, r)
		default:
			r, size := utf8.DecodeRune(p.data[p.at:])
			if r == utf8.RuneError && size == 1 {
				return "", "", p.broken("it is not UTF-8")
			}
			out = append(out, p.data[p.at:p.at+size]...)
			p.at += size
		}
	}
	return "", "", p.broken("a string has no end")
}

func (p *parser) escape() (r rune, reason string, err error) {
	p.at++ // backslash
	c := p.peek()

	if r, ok := plainEscape(c); ok {
		p.at++
		return r, "", nil
	}
	if c != 'u' {
		return 0, "", p.broken("there is no such escape")
	}
	if r, err = p.hex(); err != nil {
		return 0, "", err
	}
	if r == 0 {
		return r, `contains \u0000`, nil
	}
	if !utf16.IsSurrogate(r) {
		return r, "", nil
	}
	if r < 0xDC00 && p.at+1 < len(p.data) && p.data[p.at] == '\\' && p.data[p.at+1] == 'u' {
		mark := p.at
		p.at++
		low, err := p.hex()
		if err != nil {
			return 0, "", err
		}
		if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
			return pair, "", nil
		}
		p.at = mark // it is a character of its own
	}
	return utf8.RuneError, "contains half of a surrogate pair", nil
}

// hex reads the u of an escape and its four hexadecimal digits.
func (p *parser) hex() (rune, error) {
	p.at++ // u
	var r rune
	for range 4 {
		c := p.peek()
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c >= 'a' && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case c >= 'A' && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, p.broken("four hexadecimal digits are expected there")
		}
		p.at++
	}
	return r, nil
}

func plainEscape(c byte) (rune, bool) {
	switch c {
	case '"', '\\', '/':
		return rune(c), true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	default:
		return 0, false
	}
}
