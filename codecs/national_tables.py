"""The national language tables of GSM 7-bit (3GPP TS 23.038 annex A, as of version 18), as data.

`SINGLE` are annexes A.2.1 to A.2.13, the single shift tables (in place of the extension table); `LOCKING` are
A.3.1 to A.3.13, the locking shift tables (in place of the default alphabet; Spanish has none).
"""

from __future__ import annotations

from typing import Final

LANGUAGES: Final[dict[int, str]] = {
    1: "turkish",
    2: "spanish",
    3: "portuguese",
    4: "bengali",
    5: "gujarati",
    6: "hindi",
    7: "kannada",
    8: "malayalam",
    9: "oriya",
    10: "punjabi",
    11: "tamil",
    12: "telugu",
    13: "urdu",
}
"""The national language identifiers (TS 23.038 section 6.2.1.2.4)."""

ESCAPE: Final = 0x1B
UNDEFINED: Final = "\ufffd"
"""Stands in a locking table where a code has no character."""

# Eight lines of sixteen codes each, in order of the codes. A character stands for itself; a combining,
# invisible or right-to-left one, which would not stay in its place on a line, by its four hexadecimal digits;
# SP, LF, CR, FF are space and controls, ESC the escape, -- a code without a character.
_LOCKING: Final[dict[int, tuple[str, ...]]] = {
    1: (  # Turkish
        "@ £ $ ¥ € é ù ı ò Ç LF Ğ ğ CR Å å",
        "Δ _ Φ Γ Λ Ω Π Ψ Σ Θ Ξ ESC Ş ş ß É",
        "SP ! \" # ¤ % & ' ( ) * + , - . /",
        "0 1 2 3 4 5 6 7 8 9 : ; < = > ?",
        "İ A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z Ä Ö Ñ Ü §",
        "ç a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z ä ö ñ ü à",
    ),
    3: (  # Portuguese
        "@ £ $ ¥ ê é ú í ó ç LF Ô ô CR Á á",
        "Δ _ ª Ç À ∞ ^ \\ € Ó | ESC Â â Ê É",
        "SP ! \" # º % & ' ( ) * + , - . /",
        "0 1 2 3 4 5 6 7 8 9 : ; < = > ?",
        "Í A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z Ã Õ Ú Ü §",
        "~ a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z ã õ ` ü à",
    ),
    4: (  # Bengali
        "0981 0982 0983 অ আ ই ঈ উ ঊ ঋ LF ঌ -- CR -- এ",
        "ঐ -- -- ও ঔ ক খ গ ঘ ঙ চ ESC ছ জ ঝ ঞ",
        "SP ! ট ঠ ড ঢ ণ ত ) ( থ দ , ধ . ন",
        "0 1 2 3 4 5 6 7 8 9 : ; -- প ফ ?",
        "ব ভ ম য র -- ল -- -- -- শ ষ স হ 09BC ঽ",
        "09BE 09BF 09C0 09C1 09C2 09C3 09C4 -- -- 09C7 09C8 -- -- 09CB 09CC 09CD",
        "ৎ a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 09D7 09DC 09DD ৰ ৱ",
    ),
    5: (  # Gujarati
        "0A81 0A82 0A83 અ આ ઇ ઈ ઉ ઊ ઋ LF ઌ ઍ CR -- એ",
        "ઐ ઑ -- ઓ ઔ ક ખ ગ ઘ ઙ ચ ESC છ જ ઝ ઞ",
        "SP ! ટ ઠ ડ ઢ ણ ત ) ( થ દ , ધ . ન",
        "0 1 2 3 4 5 6 7 8 9 : ; -- પ ફ ?",
        "બ ભ મ ય ર -- લ ળ -- વ શ ષ સ હ 0ABC ઽ",
        "0ABE 0ABF 0AC0 0AC1 0AC2 0AC3 0AC4 0AC5 -- 0AC7 0AC8 0AC9 -- 0ACB 0ACC 0ACD",
        "ૐ a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z ૠ ૡ 0AE2 0AE3 ૱",
    ),
    6: (  # Hindi
        "0901 0902 0903 अ आ इ ई उ ऊ ऋ LF ऌ ऍ CR ऎ ए",
        "ऐ ऑ ऒ ओ औ क ख ग घ ङ च ESC छ ज झ ञ",
        "SP ! ट ठ ड ढ ण त ) ( थ द , ध . न",
        "0 1 2 3 4 5 6 7 8 9 : ; ऩ प फ ?",
        "ब भ म य र ऱ ल ळ ऴ व श ष स ह 093C ऽ",
        "093E 093F 0940 0941 0942 0943 0944 0945 0946 0947 0948 0949 094A 094B 094C 094D",
        "ॐ a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z ॲ ॻ ॼ ॾ ॿ",
    ),
    7: (  # Kannada
        "-- 0C82 0C83 ಅ ಆ ಇ ಈ ಉ ಊ ಋ LF ಌ -- CR ಎ ಏ",
        "ಐ -- ಒ ಓ ಔ ಕ ಖ ಗ ಘ ಙ ಚ ESC ಛ ಜ ಝ ಞ",
        "SP ! ಟ ಠ ಡ ಢ ಣ ತ ) ( ಥ ದ , ಧ . ನ",
        "0 1 2 3 4 5 6 7 8 9 : ; -- ಪ ಫ ?",
        "ಬ ಭ ಮ ಯ ರ ಱ ಲ ಳ -- ವ ಶ ಷ ಸ ಹ 0CBC ಽ",
        "0CBE 0CBF 0CC0 0CC1 0CC2 0CC3 0CC4 -- 0CC6 0CC7 0CC8 -- 0CCA 0CCB 0CCC 0CCD",
        "0CD5 a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 0CD6 ೠ ೡ 0CE2 0CE3",
    ),
    8: (  # Malayalam
        "-- 0D02 0D03 അ ആ ഇ ഈ ഉ ഊ ഋ LF ഌ -- CR എ ഏ",
        "ഐ -- ഒ ഓ ഔ ക ഖ ഗ ഘ ങ ച ESC ഛ ജ ഝ ഞ",
        "SP ! ട ഠ ഡ ഢ ണ ത ) ( ഥ ദ , ധ . ന",
        "0 1 2 3 4 5 6 7 8 9 : ; -- പ ഫ ?",
        "ബ ഭ മ യ ര റ ല ള ഴ വ ശ ഷ സ ഹ -- ഽ",
        "0D3E 0D3F 0D40 0D41 0D42 0D43 0D44 -- 0D46 0D47 0D48 -- 0D4A 0D4B 0D4C 0D4D",
        "0D57 a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z ൠ ൡ 0D62 0D63 ൹",
    ),
    9: (  # Oriya
        "0B01 0B02 0B03 ଅ ଆ ଇ ଈ ଉ ଊ ଋ LF ଌ -- CR -- ଏ",
        "ଐ -- -- ଓ ଔ କ ଖ ଗ ଘ ଙ ଚ ESC ଛ ଜ ଝ ଞ",
        "SP ! ଟ ଠ ଡ ଢ ଣ ତ ) ( ଥ ଦ , ଧ . ନ",
        "0 1 2 3 4 5 6 7 8 9 : ; -- ପ ଫ ?",
        "ବ ଭ ମ ଯ ର -- ଲ ଳ -- ଵ ଶ ଷ ସ ହ 0B3C ଽ",
        "0B3E 0B3F 0B40 0B41 0B42 0B43 0B44 -- -- 0B47 0B48 -- -- 0B4B 0B4C 0B4D",
        "0B56 a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 0B57 ୠ ୡ 0B62 0B63",
    ),
    10: (  # Punjabi
        "0A01 0A02 0A03 ਅ ਆ ਇ ਈ ਉ ਊ -- LF -- -- CR -- ਏ",
        "ਐ -- -- ਓ ਔ ਕ ਖ ਗ ਘ ਙ ਚ ESC ਛ ਜ ਝ ਞ",
        "SP ! ਟ ਠ ਡ ਢ ਣ ਤ ) ( ਥ ਦ , ਧ . ਨ",
        "0 1 2 3 4 5 6 7 8 9 : ; -- ਪ ਫ ?",
        "ਬ ਭ ਮ ਯ ਰ -- ਲ 0A33 -- ਵ 0A36 -- ਸ ਹ 0A3C --",
        "0A3E 0A3F 0A40 0A41 0A42 -- -- -- -- 0A47 0A48 -- -- 0A4B 0A4C 0A4D",
        "0A51 a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 0A70 0A71 ੲ ੳ ੴ",
    ),
    11: (  # Tamil
        "-- 0B82 ஃ அ ஆ இ ஈ உ ஊ -- LF -- -- CR எ ஏ",
        "ஐ -- ஒ ஓ ஔ க -- -- -- ங ச ESC -- ஜ -- ஞ",
        "SP ! ட -- -- -- ண த ) ( -- -- , -- . ந",
        "0 1 2 3 4 5 6 7 8 9 : ; ன ப -- ?",
        "-- -- ம ய ர ற ல ள ழ வ ஶ ஷ ஸ ஹ -- --",
        "0BBE 0BBF 0BC0 0BC1 0BC2 -- -- -- 0BC6 0BC7 0BC8 -- 0BCA 0BCB 0BCC 0BCD",
        "ௐ a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 0BD7 ௰ ௱ ௲ ௹",
    ),
    12: (  # Telugu
        "0C01 0C02 0C03 అ ఆ ఇ ఈ ఉ ఊ ఋ LF ఌ -- CR ఎ ఏ",
        "ఐ -- ఒ ఓ ఔ క ఖ గ ఘ ఙ చ ESC ఛ జ ఝ ఞ",
        "SP ! ట ఠ డ ఢ ణ త ) ( థ ద , ధ . న",
        "0 1 2 3 4 5 6 7 8 9 : ; -- ప ఫ ?",
        "బ భ మ య ర ఱ ల ళ -- వ శ ష స హ -- ఽ",
        "0C3E 0C3F 0C40 0C41 0C42 0C43 0C44 -- 0C46 0C47 0C48 -- 0C4A 0C4B 0C4C 0C4D",
        "0C55 a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 0C56 ౠ ౡ 0C62 0C63",
    ),
    13: (  # Urdu
        "0627 0622 0628 067B 0680 067E 06A6 062A 06C2 067F LF 0679 067D CR 067A 067C",
        "062B 062C 0681 0684 0683 0685 0686 0687 062D 062E 062F ESC 068C 0688 0689 068A",
        "SP ! 068F 068D 0630 0631 0691 0693 ) ( 0699 0632 , 0696 . 0698",
        "0 1 2 3 4 5 6 7 8 9 : ; 069A 0633 0634 ?",
        "0635 0636 0637 0638 0639 0641 0642 06A9 06AA 06AB 06AF 06B3 06B1 0644 0645 0646",
        "06BA 06BB 06BC 0648 06C4 06D5 06C1 06BE 0621 06CC 06D0 06D2 064D 0650 064F 0657",
        "0654 a b c d e f g h i j k l m n o",
        "p q r s t u v w x y z 0655 0651 0653 0656 0670",
    ),
}
_SINGLE: Final[dict[int, tuple[str, ...]]] = {
    1: (  # Turkish
        "-- -- -- -- -- -- -- -- -- -- FF -- -- -- -- --",
        "-- -- -- -- ^ -- -- -- -- -- -- ESC -- -- -- --",
        "-- -- -- -- -- -- -- -- { } -- -- -- -- -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| -- -- -- -- -- -- Ğ -- İ -- -- -- -- -- --",
        "-- -- -- Ş -- -- -- -- -- -- -- -- -- -- -- --",
        "-- -- -- ç -- € -- ğ -- ı -- -- -- -- -- --",
        "-- -- -- ş -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    2: (  # Spanish
        "-- -- -- -- -- -- -- -- -- ç FF -- -- -- -- --",
        "-- -- -- -- ^ -- -- -- -- -- -- ESC -- -- -- --",
        "-- -- -- -- -- -- -- -- { } -- -- -- -- -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| Á -- -- -- -- -- -- -- Í -- -- -- -- -- Ó",
        "-- -- -- -- -- Ú -- -- -- -- -- -- -- -- -- --",
        "-- á -- -- -- € -- -- -- í -- -- -- -- -- ó",
        "-- -- -- -- -- ú -- -- -- -- -- -- -- -- -- --",
    ),
    3: (  # Portuguese
        "-- -- -- -- -- ê -- -- -- ç FF Ô ô -- Á á",
        "-- -- Φ Γ ^ Ω Π Ψ Σ Θ -- ESC -- -- -- Ê",
        "-- -- -- -- -- -- -- -- { } -- -- -- -- -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| À -- -- -- -- -- -- -- Í -- -- -- -- -- Ó",
        "-- -- -- -- -- Ú -- -- -- -- -- Ã Õ -- -- --",
        "-- Â -- -- -- € -- -- -- í -- -- -- -- -- ó",
        "-- -- -- -- -- ú -- -- -- -- -- ã õ -- -- â",
    ),
    4: (  # Bengali
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * ০ ১ ESC ২ ৩ ৪ ৫",
        "৬ ৭ ৮ ৯ 09DF ৠ ৡ 09E2 { } 09E3 ৲ ৳ ৴ ৵ \\",
        "৶ ৷ ৸ ৹ ৺ -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    5: (  # Gujarati
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ૦ ૧ ૨ ૩",
        "૪ ૫ ૬ ૭ ૮ ૯ -- -- { } -- -- -- -- -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    6: (  # Hindi
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ० १ २ ३",
        "४ ५ ६ ७ ८ ९ 0951 0952 { } 0953 0954 0958 0959 095A \\",
        "095B 095C 095D 095E 095F ॠ ॡ 0962 0963 ॰ ॱ -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    7: (  # Kannada
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ೦ ೧ ೨ ೩",
        "೪ ೫ ೬ ೭ ೮ ೯ ೞ ೱ { } ೲ -- -- -- -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    8: (  # Malayalam
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ൦ ൧ ൨ ൩",
        "൪ ൫ ൬ ൭ ൮ ൯ ൰ ൱ { } ൲ ൳ ൴ ൵ ൺ \\",
        "ൻ ർ ൽ ൾ ൿ -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    9: (  # Oriya
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ୦ ୧ ୨ ୩",
        "୪ ୫ ୬ ୭ ୮ ୯ 0B5C 0B5D { } ୟ ୰ ୱ -- -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    10: (  # Punjabi
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ੦ ੧ ੨ ੩",
        "੪ ੫ ੬ ੭ ੮ ੯ 0A59 0A5A { } 0A5B ੜ 0A5E 0A75 -- \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    11: (  # Tamil
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * । ॥ ESC ௦ ௧ ௨ ௩",
        "௪ ௫ ௬ ௭ ௮ ௯ ௳ ௴ { } ௵ ௶ ௷ ௸ ௺ \\",
        "-- -- -- -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    12: (  # Telugu
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * -- -- ESC ౦ ౧ ౨ ౩",
        "౪ ౫ ౬ ౭ ౮ ౯ ౘ ౙ { } ౸ ౹ ౺ ౻ ౼ \\",
        "౽ ౾ ౿ -- -- -- -- -- -- -- -- -- [ ~ ] --",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
    13: (  # Urdu
        "@ £ $ ¥ ¿ \" ¤ % & ' FF * + -- - /",
        "< = > ¡ ^ ¡ _ # * 0600 0601 ESC ۰ ۱ ۲ ۳",
        "۴ ۵ ۶ ۷ ۸ ۹ ، 060D { } ؎ ؏ 0610 0611 0612 \\",
        "0613 0614 061B 061F 0640 0652 0658 066B 066C 0672 0673 06CD [ ~ ] 06D4",
        "| A B C D E F G H I J K L M N O",
        "P Q R S T U V W X Y Z -- -- -- -- --",
        "-- -- -- -- -- € -- -- -- -- -- -- -- -- -- --",
        "-- -- -- -- -- -- -- -- -- -- -- -- -- -- -- --",
    ),
}

_NAMED: Final = {"SP": " ", "LF": "\n", "CR": "\r", "FF": "\f", "ESC": "\x1b", "--": UNDEFINED}


def _grid(lines: tuple[str, ...]) -> str:
    """The 128 characters of a table."""
    return "".join(
        _NAMED.get(cell) or (cell if len(cell) == 1 else chr(int(cell, 16)))
        for line in lines
        for cell in line.split(" ")
    )


def _codes(table: str) -> dict[str, int]:
    """Character -> code; of two codes for one character (the annex has "*" and "¡" twice) the first."""
    return {
        character: code
        for code, character in reversed([*enumerate(table)])
        if character != UNDEFINED and code != ESCAPE
    }


LOCKING: Final[dict[int, str]] = {language: _grid(lines) for language, lines in _LOCKING.items()}
"""Language -> the 128 characters in order of their codes, "\x1b" at the escape."""

SINGLE: Final[dict[int, dict[str, int]]] = {
    language: _codes(_grid(lines)) for language, lines in _SINGLE.items()
}
"""Language -> character -> the code that follows the escape."""

SINGLE_CHARACTERS: Final[dict[int, dict[int, str]]] = {
    language: {
        code: character
        for code, character in enumerate(_grid(lines))
        if character != UNDEFINED and code != ESCAPE
    }
    for language, lines in _SINGLE.items()
}
"""The same the other way: language -> code -> character."""
