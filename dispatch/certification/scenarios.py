"""What is tried and in which words: a question to a partner, an event sent to it, what it sends."""

from dataclasses import dataclass

from dispatch.operations.notation import Words


@dataclass(frozen=True, slots=True)
class Scenario:
    code: str
    title: Words
    asked: Words
    expected: Words
    mend: Words


def _by_code(*scenarios: Scenario) -> dict[str, Scenario]:
    return {item.code: item for item in scenarios}


REFUSED = Words("Refused: 401 or 403.", "Ditolak: 401 atau 403.")
TURNED_DOWN = Words(
    "Refused with 4xx, or answered with `declined`; neither `ok` nor a 5xx.",
    "Ditolak dengan 4xx, atau dijawab `declined`; bukan `ok` dan bukan 5xx.",
)
# In the order in which they are tried.
ASKED = _by_code(
    Scenario(
        "success",
        Words("Success", "Berhasil"),
        Words(
            "The example of the contract with fresh ids, rightly signed.",
            "Contoh dari kontrak dengan id baru, ditandatangani dengan benar.",
        ),
        Words(
            "200 with `status` `ok`, signed with the outbound secret where there is one, and `data` "
            "exactly of the kind that the contract says.",
            "200 dengan `status` `ok`, ditandatangani dengan secret outbound bila ada, dan `data` "
            "tepat sesuai kontrak.",
        ),
        Words(
            "Compare your answer with the example of the contract, field by field. Sign the exact "
            "bytes of it. Let your test environment know what the examples name.",
            "Bandingkan jawaban Anda dengan contoh dari kontrak, field demi field. Tandatangani byte "
            "persisnya. Pastikan lingkungan uji mengenal yang disebut dalam contoh.",
        ),
    ),
    Scenario(
        "refusal",
        Words("Refusal", "Penolakan"),
        Words(
            "The same about something that nobody knows: an id that starts with `unknown-`.",
            "Hal yang sama tentang sesuatu yang tidak dikenal: id yang diawali `unknown-`.",
        ),
        Words(
            "200 with `status` `declined` and an `error.code`, signed like any answer.",
            "200 dengan `status` `declined` dan `error.code`, ditandatangani seperti jawaban lain.",
        ),
        Words(
            "A no of business is a right answer, not an HTTP error: answer 200 and `declined` with a "
            "short code.",
            "Penolakan bisnis adalah jawaban yang benar, bukan galat HTTP: jawab 200 dan `declined` "
            "dengan kode singkat.",
        ),
    ),
    Scenario(
        "duplicate",
        Words("Duplicate", "Duplikat"),
        Words(
            "The same question twice with the same `Idempotency-Key`.",
            "Pertanyaan yang sama dua kali dengan `Idempotency-Key` yang sama.",
        ),
        Words("The same `data` both times.", "`data` yang sama dua kali."),
        Words(
            "Keep the first answer for 24 hours under install, capability, operation and key, and give "
            "it again. Nothing may be done twice.",
            "Simpan jawaban pertama selama 24 jam menurut install, kapabilitas, operasi, dan kunci, "
            "lalu berikan lagi. Tidak ada yang boleh dikerjakan dua kali.",
        ),
    ),
    Scenario(
        "late",
        Words("Late", "Terlambat"),
        Words(
            "A question that was signed ten minutes ago.",
            "Pertanyaan yang ditandatangani sepuluh menit lalu.",
        ),
        REFUSED,
        Words(
            "Refuse a `webhook-timestamp` (or a token) that is more than 300 seconds off: else whoever "
            "recorded a request can send it again.",
            "Tolak `webhook-timestamp` (atau token) yang selisihnya lebih dari 300 detik: jika tidak, "
            "permintaan yang direkam dapat dikirim ulang siapa saja.",
        ),
    ),
    Scenario(
        "wrong_signature",
        Words("Wrong signature", "Tanda tangan salah"),
        Words(
            "A question signed with another key, and with another key of the merchant where it has one.",
            "Pertanyaan yang ditandatangani dengan kunci lain, dan dengan kunci merchant lain bila ada.",
        ),
        REFUSED,
        Words(
            "Compute the signature over the raw bytes before you parse them, compare in constant time, "
            "and answer 401 where it differs.",
            "Hitung tanda tangan atas byte mentah sebelum dibaca, bandingkan dalam waktu konstan, dan "
            "jawab 401 bila berbeda.",
        ),
    ),
    Scenario(
        "malformed",
        Words("Malformed request", "Permintaan cacat"),
        Words(
            "Rightly signed, with a field missing, then with a field of the wrong kind.",
            "Ditandatangani dengan benar, satu field hilang, lalu satu field salah jenis.",
        ),
        TURNED_DOWN,
        Words(
            "Check the request before you act on it, and answer 422 with the name of the field.",
            "Periksa permintaan sebelum bertindak, dan jawab 422 dengan nama field.",
        ),
    ),
    Scenario(
        "version",
        Words("Unknown version", "Versi tidak dikenal"),
        Words(
            "The same with the contract version 99.",
            "Hal yang sama dengan versi kontrak 99.",
        ),
        TURNED_DOWN,
        Words(
            "Look at `contract` and refuse a version that you have not built: its fields may mean "
            "something else.",
            "Lihat `contract` dan tolak versi yang belum Anda buat: field-nya mungkin berarti lain.",
        ),
    ),
    Scenario(
        "in_time",
        Words("In time", "Tepat waktu"),
        Words("The example five times.", "Contoh lima kali."),
        Words(
            "95 of 100 answers within the budget: of five, every one.",
            "95 dari 100 jawaban dalam batas waktu: dari lima, semuanya.",
        ),
        Words(
            "Answer first and work later. Measure at your edge: name look-up, TLS and the way count.",
            "Jawab dulu, kerjakan kemudian. Ukur di tepi jaringan Anda: DNS, TLS, dan perjalanan ikut "
            "dihitung.",
        ),
    ),
    Scenario(
        "unknown_fields",
        Words("Unknown fields", "Field tak dikenal"),
        Words(
            "The example with a field more in the envelope, in `merchant` and in `outlet`.",
            "Contoh dengan satu field tambahan di amplop, di `merchant`, dan di `outlet`.",
        ),
        Words("Answered as without them.", "Dijawab seperti tanpa field itu."),
        Words(
            "Ignore fields that you do not know: Posz adds some within a version.",
            "Abaikan field yang tidak dikenal: Posz menambahkannya dalam satu versi.",
        ),
    ),
)
SENT = _by_code(
    Scenario(
        "success",
        Words("Event", "Event"),
        Words(
            "An example event, rightly signed, with `example` true.",
            "Contoh event, ditandatangani dengan benar, dengan `example` true.",
        ),
        Words("2xx within 15 seconds.", "2xx dalam 15 detik."),
        Words(
            "Check one of the two signatures with your outbound secret, store the event, answer 2xx, "
            "and work later.",
            "Periksa salah satu dari dua tanda tangan dengan secret outbound, simpan event, jawab 2xx, "
            "dan kerjakan kemudian.",
        ),
    ),
    Scenario(
        "duplicate",
        Words("Duplicate", "Duplikat"),
        Words("The same event once more.", "Event yang sama sekali lagi."),
        Words("2xx again.", "2xx lagi."),
        Words(
            "Tell doubles by `id`, do nothing, and answer 2xx: anything else is sent yet again.",
            "Kenali duplikat dari `id`, jangan lakukan apa-apa, dan jawab 2xx: selain itu akan dikirim "
            "lagi.",
        ),
    ),
    Scenario(
        "wrong_signature",
        Words("Wrong signature", "Tanda tangan salah"),
        Words(
            "An event signed with another key in both forms.",
            "Event yang ditandatangani dengan kunci lain dalam kedua bentuk.",
        ),
        REFUSED,
        ASKED["wrong_signature"].mend,
    ),
    Scenario(
        "late",
        Words("Late", "Terlambat"),
        Words(
            "An event that was signed ten minutes ago.",
            "Event yang ditandatangani sepuluh menit lalu.",
        ),
        REFUSED,
        Words(
            "Refuse a `webhook-timestamp` more than 300 seconds off, also where you check "
            "`X-Posz-Signature`.",
            "Tolak `webhook-timestamp` yang selisihnya lebih dari 300 detik, juga bila Anda memeriksa "
            "`X-Posz-Signature`.",
        ),
    ),
)
RECEIVED = _by_code(
    Scenario(
        "scheme",
        Words("How events are proven", "Pembuktian event"),
        Words(
            "The catalog row: how you sign, your key, and which of your events belong here.",
            "Baris katalog: cara Anda menandatangani, kunci Anda, dan event mana yang termasuk di sini.",
        ),
        Words(
            "A scheme that can be read, a key where it needs one, and at least one event type.",
            "Skema yang dapat dibaca, kunci bila diperlukan, dan sedikitnya satu jenis event.",
        ),
        Words(
            "Staff of Posz complete the inbound signature and the inbound events of the row.",
            "Staf Posz melengkapi tanda tangan masuk dan event masuk pada baris katalog.",
        ),
    ),
    Scenario(
        "sample",
        Words("Latest event", "Event terbaru"),
        Words(
            "The latest event of this kind that was accepted from you.",
            "Event terbaru jenis ini yang diterima dari Anda.",
        ),
        Words("`data` of the kind that the contract says.", "`data` sesuai kontrak."),
        Words(
            "Compare `data` of your event with the example of the contract.",
            "Bandingkan `data` event Anda dengan contoh dari kontrak.",
        ),
    ),
)
