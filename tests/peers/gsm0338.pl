# All that Encode::GSM0338 knows, one line each: "e CODEPOINT OCTETS" for every character of the BMP that it can
# encode, "d OCTETS CODEPOINTS" for every septet and every septet behind an escape; all in hexadecimal.
use strict;
use warnings;
use Encode qw(find_encoding FB_DEFAULT LEAVE_SRC);
my $gsm = find_encoding('gsm0338') or die "no gsm0338\n";
for my $code (0 .. 0xD7FF, 0xE000 .. 0xFFFF) {
    no warnings;
    my $octets = $gsm->encode(chr $code, FB_DEFAULT | LEAVE_SRC);
    # What it cannot encode becomes a question mark.
    printf "e %04X %s\n", $code, unpack 'H*', $octets if $octets ne '?' || $code == ord '?';
}
for my $septets (map({ chr } 0 .. 127), map { "\x1b" . chr } 0 .. 127) {
    my $text = $gsm->decode($septets, FB_DEFAULT | LEAVE_SRC);
    printf "d %s %s\n", unpack('H*', $septets), join ' ', map { sprintf '%04X', ord } split //, $text;
}
